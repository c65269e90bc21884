//! Says what this build is: `OOM_PROBE_COMMIT` and `OOM_PROBE_BUILT_FROM` name the commit,
//! `OOM_PROBE_EBPF_KIND` says where the kernel programs come from.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

/// For builds without a repository, such as a container image's: the commit, short, and its date.
const COMMIT: &str = "OOM_PROBE_COMMIT";
const DATE: &str = "OOM_PROBE_COMMIT_DATE";
/// From the build script of the crate that has the kernel programs.
const KIND: &str = "DEP_OOM_PROBE_EBPF_KIND";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let manifest_dir = cargo_variable("CARGO_MANIFEST_DIR")?;
    let target_arch = cargo_variable("CARGO_CFG_TARGET_ARCH")?;
    let kind = cargo_variable(KIND)?;
    let workspace = Path::new(&manifest_dir)
        .parent()
        .ok_or("the package has no workspace above it")?;
    println!("cargo::rerun-if-changed=build.rs");
    let (commit, date) = commit(workspace);
    let date = date.map_or_else(String::new, |date| format!(" of {date}"));
    println!("cargo::rustc-env={COMMIT}={commit}");
    println!("cargo::rustc-env=OOM_PROBE_BUILT_FROM={commit}{date}");
    println!("cargo::rustc-env=OOM_PROBE_ARCH={target_arch}");
    println!("cargo::rustc-env=OOM_PROBE_EBPF_KIND={kind}");
    Ok(())
}

/// A variable that cargo always sets for build scripts.
fn cargo_variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: cargo runs this script"))
}

/// A user's variable; an empty one is an unset one.
fn user_variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The commit that is checked out, short, and its day: never the build's, so that a build of one
/// commit is the same whenever it is made. `unknown` in a source archive, and in a debug build,
/// which would otherwise be compiled again after every commit.
fn commit(workspace: &Path) -> (String, Option<String>) {
    let unknown = || "unknown".to_owned();
    let date = user_variable(DATE);
    if let Some(commit) = user_variable(COMMIT) {
        return (commit, date);
    }
    if env::var("PROFILE").as_deref() != Ok("release") {
        return (unknown(), None);
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(workspace)
            .args(arguments)
            .env("TZ", "UTC")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output
            .status
            .success()
            .then(|| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    // HEAD moves by its own file on a checkout and by the reflog's on a commit.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            let path = workspace.join(path);
            if path.exists() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
    let show = |format| {
        git(&[
            "show",
            "--no-patch",
            "--date=format-local:%Y-%m-%d",
            format,
            "HEAD",
        ])
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    (
        commit.unwrap_or_else(unknown),
        date.or_else(|| show("--format=%cd")),
    )
}
