//! Building for the other architecture: its standard library by rustup, its C compiler and linker
//! out of Debian's packages, unpacked and never installed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cmd;
use crate::debian::{self, Suite};

/// Debian 12's cross compiler: it runs where glibc is 2.36 or newer.
const SUITE: Suite = Suite::Bookworm;
const COMPILER: &str = "aarch64-linux-gnu-gcc-12";
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The compiler with the binutils and the static C library of its target, and the libraries that
/// it is itself linked to. gcc finds its parts by where it lies.
const PACKAGES: [&str; 14] = [
    "gcc-12-aarch64-linux-gnu",
    "cpp-12-aarch64-linux-gnu",
    "binutils-aarch64-linux-gnu",
    "libgcc-12-dev-arm64-cross",
    "libgcc-s1-arm64-cross",
    "libc6-arm64-cross",
    "libc6-dev-arm64-cross",
    "linux-libc-dev-arm64-cross",
    "libgmp10",
    "libisl23",
    "libjansson4",
    "libmpc3",
    "libmpfr6",
    "libzstd1",
];

/// Makes cargo build for `triple`, getting once what that takes; nothing to do for this machine's
/// own.
///
/// # Errors
/// One message that says what is missing and gives the command that helps.
pub(crate) fn configure(cargo: &mut Command, triple: &str) -> Result<()> {
    if triple.starts_with(env::consts::ARCH) {
        return Ok(());
    }
    if triple != TARGET || env::consts::ARCH != "x86_64" {
        bail!("{triple} is cross-compiled on no machine like this one: build there");
    }
    standard_library()?;
    let suffix = triple.replace('-', "_");
    let linker = format!("CARGO_TARGET_{}_LINKER", suffix.to_uppercase());
    let compiler = format!("CC_{suffix}");
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set(&linker) && is_set(&compiler) {
        return Ok(());
    }
    let (program, libraries) = c_compiler()?;
    for name in [linker, compiler] {
        if !is_set(&name) {
            cargo.env(name, &program);
        }
    }
    if let Some(libraries) = libraries {
        cargo.env("LD_LIBRARY_PATH", before_inherited(&libraries));
    }
    Ok(())
}

/// The compiled standard library of the target beside the compiler.
fn standard_library() -> Result<()> {
    let library = |arguments: &[&str]| {
        let answer = cmd::answer("rustc", arguments)?;
        Path::new(answer.trim()).exists().then_some(())
    };
    let there = ["--print", "target-libdir", "--target", TARGET];
    if library(&there).is_some() {
        return Ok(());
    }
    if cmd::which("rustup").is_none() {
        bail!(
            "rustc has no standard library for {TARGET}, and there is no rustup to get it: unpack \
             the package libstd-rust-dev of arm64 beside the compiler, or build on an arm64 machine"
        );
    }
    eprintln!("xtask: rustup target add {TARGET}");
    cmd::run_quietly(
        Command::new("rustup")
            .args(["target", "add", TARGET])
            .current_dir(cmd::workspace()),
    )
}

/// The cross compiler and where its libraries are, if not in the system.
fn c_compiler() -> Result<(PathBuf, Option<PathBuf>)> {
    if let Some(installed) = cmd::which("aarch64-linux-gnu-gcc") {
        return Ok((installed, None));
    }
    let root = debian::unpacked(SUITE, "gcc-aarch64-linux-gnu", &PACKAGES).context(
        "no C compiler for arm64: install gcc-aarch64-linux-gnu and libc6-dev-arm64-cross",
    )?;
    let compiler = root.join("usr/bin").join(COMPILER);
    Ok((compiler, Some(root.join("usr/lib/x86_64-linux-gnu"))))
}

fn before_inherited(libraries: &Path) -> OsString {
    let inherited = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let inherited = env::split_paths(&inherited).filter(|path| !path.as_os_str().is_empty());
    let all = std::iter::once(libraries.to_owned()).chain(inherited);
    env::join_paths(all).unwrap_or_else(|_| libraries.as_os_str().to_owned())
}
