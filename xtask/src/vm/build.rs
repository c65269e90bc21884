//! Builds the static programs that run inside the machines.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::cmd;

/// The machines are x86-64, whatever builds for them.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Static, since a machine has no libraries, and without symbols: each byte is copied into the
/// machine's memory twice while it boots.
const FLAGS: [&str; 2] = ["-Ctarget-feature=+crt-static", "-Cstrip=symbols"];

/// The line cargo writes for each artifact.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Lets a cargo command, of which the subcommand is there, build for the machines. The target is
/// named even where it is this machine's, so that the flags do not reach build scripts and
/// procedural macros.
pub(crate) fn for_machines(cargo: &mut Command) {
    cargo
        .args(["--target", TARGET])
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
}

/// Runs cargo with `arguments` and gives the static program made from the target `name`.
///
/// # Errors
/// The build fails, or makes no program of that name.
fn program(name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let mut command = cmd::cargo();
    command.args(arguments);
    for_machines(&mut command);
    command
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    eprintln!("$ {}", cmd::shown(&command));
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`{}` failed", cmd::shown(&command));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, name).with_context(|| format!("the build made no program {name}"))
}

/// The program of a package of that name.
///
/// # Errors
/// As [`program`].
pub(crate) fn package(name: &str) -> Result<PathBuf> {
    program(name, &["build", "--release", "--package", name])
}

/// The integration test of that name.
///
/// # Errors
/// As [`program`].
pub(crate) fn test(name: &str) -> Result<PathBuf> {
    program(
        name,
        &["test", "--no-run", "--package", "oom-probe", "--test", name],
    )
}

/// The last program of that name in cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.target.name == name)
        .filter_map(|artifact| artifact.executable)
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"libc"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"hog"},"executable":"/t/hog"}
{"reason":"compiler-artifact","target":{"name":"hog"},"executable":null}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages, "hog"), Some(PathBuf::from("/t/hog")));
        assert_eq!(executable(messages, "libc"), None);
        assert_eq!(executable("", "hog"), None);
    }
}
