//! Compiles the kernel programs with a cargo of their own, inside the build of the daemon.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::plan::{self, Toolchain};
use crate::strip;

/// Builds `oom-probe-ebpf` and returns the object's path. `target_dir` must not be the outer
/// cargo's, which holds a lock on that.
///
/// # Errors
/// What the inner build complained of, or why it could not be run.
pub(crate) fn compile(
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
    target_arch: &str,
    log_feature: bool,
) -> Result<PathBuf, String> {
    let Toolchain {
        cargo,
        rustc,
        bpf_linker,
    } = toolchain;

    let mut command = Command::new(cargo);
    for (variable, _) in env::vars_os() {
        if !variable.to_str().is_some_and(plan::passes_to_inner_cargo) {
            command.env_remove(variable);
        }
    }
    command
        .current_dir(workspace)
        .arg("build")
        .args(plan::cargo_arguments(log_feature, target_dir))
        .env("RUSTC", rustc)
        // build-std is an unstable flag; the compiler may well be a stable release.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            plan::encoded_rustflags(target_arch, bpf_linker, &renamed(workspace, rustc)),
        )
        .env("CARGO_TERM_COLOR", "never");

    let output = command
        .output()
        .map_err(|error| format!("cannot run {}: {error}", cargo.display()))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let diagnostics = messages.lines().filter(|line| !is_progress(line));
    if !output.status.success() {
        let diagnostics: Vec<_> = diagnostics.collect();
        return Err(format!(
            "the kernel programs do not compile:\n{}",
            diagnostics.join("\n")
        ));
    }
    for line in diagnostics.skip_while(|line| !line.starts_with("warning")) {
        println!("cargo::warning={line}");
    }
    Ok(target_dir.join("bpfel-unknown-none/release/oom-probe"))
}

/// Directories whose place differs from machine to machine, and what the object calls them.
fn renamed(workspace: &Path, rustc: &Path) -> Vec<(PathBuf, &'static str)> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output();
    let sysroot = sysroot
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|path| PathBuf::from(path.trim()).join("lib/rustlib/src/rust"));
    let mut renamed = vec![(workspace.to_owned(), "oom-probe")];
    renamed.extend(cargo.map(|path| (path, "cargo")));
    renamed.extend(sysroot.map(|path| (path, "rust")));
    renamed
}

/// Cargo's account of its progress, which would drown what the compiler says.
fn is_progress(line: &str) -> bool {
    [
        "Compiling",
        "Finished",
        "Downloading",
        "Downloaded",
        "Updating",
        "Locking",
    ]
    .iter()
    .any(|progress| line.trim_start().starts_with(progress))
}

/// Puts the object where the daemon includes it from.
///
/// # Errors
/// Names the file that cannot be read, stripped or written.
pub(crate) fn install(object: &Path, destination: &Path) -> Result<(), String> {
    let elf =
        fs::read(object).map_err(|error| format!("cannot read {}: {error}", object.display()))?;
    let stripped = strip::debug_sections(&elf)
        .map_err(|error| format!("the kernel object {} {error}", object.display()))?;
    fs::write(destination, stripped)
        .map_err(|error| format!("cannot write {}: {error}", destination.display()))
}
