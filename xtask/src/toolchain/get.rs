//! Carries out the steps of the plan, saying what it does and why.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::plan::{BPF_LINKER, RUSTUP_RELEASE};
use super::{linker_root, say};
use crate::cmd;

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

pub(super) fn apt_update() -> Result<()> {
    say("apt-get update: no compiler or LLVM that fits is in the package lists");
    cmd::run_quietly(apt_get().arg("update"))
}

/// `--no-remove` makes apt refuse where it would have to take the user's own packages away.
pub(super) fn apt_install(packages: &[String], purpose: &str) -> Result<()> {
    eprintln!("apt-get install {}: {purpose}", packages.join(" "));
    let install = || {
        let mut command = apt_get();
        command
            .args(["install", "--yes", "--no-remove", "--no-install-recommends"])
            .args(packages);
        command
    };
    cmd::run_quietly(&mut install()).or_else(|_| {
        eprintln!("apt-get update, and once more: the package lists may be out of date");
        cmd::run_quietly(apt_get().arg("update"))?;
        cmd::run_quietly(&mut install())
    })
}

pub(super) fn rustup() -> Result<()> {
    say(&format!(
        "rustup toolchain install {RUSTUP_RELEASE} with rust-src: core is built from source for \
         the kernel (your default toolchain stays)"
    ));
    cmd::run_quietly(Command::new("rustup").args([
        "toolchain",
        "install",
        RUSTUP_RELEASE,
        "--profile",
        "minimal",
        "--component",
        "rust-src",
        "--no-self-update",
    ]))
}

pub(super) fn linker_from_source(cache: &Path, llvm: u32) -> Result<()> {
    let root = linker_root(cache, &format!("llvm{llvm}"));
    say(&format!(
        "cargo install bpf-linker {BPF_LINKER} against LLVM {llvm} into {} (one to two minutes)",
        root.display()
    ));
    cmd::run_quietly(
        cmd::cargo()
            .args([
                "install",
                "--quiet",
                "--locked",
                "bpf-linker",
                "--version",
                BPF_LINKER,
            ])
            .args([
                "--no-default-features",
                "--features",
                &format!("llvm-{llvm}"),
                "--root",
            ])
            .arg(&root)
            .env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}")),
    )
}
