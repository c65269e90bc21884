//! Whether a commit gives the same bytes in another directory: it is built there once more.
//!
//! What is not of the workspace is copied, not compiled again: its flags and its place in cargo's
//! registry are the same for both. What could differ by directory, the workspace's own crates, the
//! kernel programs and the link, is made anew.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::Arch;
use crate::cmd;
use crate::compile::{self, Built};
use crate::source::Source;

/// Why the comparison cannot be made here.
pub(crate) fn left_out() -> Option<&'static str> {
    match Source::of_workspace() {
        Ok(Source { revision: None, .. }) => Some("no git repository to build a commit of"),
        Ok(Source { modified: true, .. }) => Some("files differ from the commit"),
        _ => None,
    }
}

/// Builds the commit in a directory of its own and compares both programs.
///
/// # Errors
/// It cannot be built there, or comes out different.
pub(crate) fn compare(built: &Built) -> Result<()> {
    let arch = Arch::of_this_machine().context("no images are made for this architecture")?;
    let directory = tempfile::Builder::new()
        .prefix("oom-probe-again-")
        .tempdir()?;
    let source = directory.path().join("source");
    let target = directory.path().join("target");
    cmd::run_quietly(
        Command::new("git")
            .args(["clone", "--quiet", "--shared"])
            .arg(cmd::workspace())
            .arg(&source),
    )?;
    for part in ["release", &format!("{}/release", arch.triple())] {
        copy(&cmd::target_dir().join(part), &target.join(part))?;
    }
    let args = compile::Args::portable(arch.triple());
    let again = compile::build_at(&args, &source, &target)?;
    for (first, second) in [
        (&built.oom_probe, &again.oom_probe),
        (&built.hog, &again.hog),
    ] {
        same(first, second)?;
    }
    Ok(())
}

/// Copies what cargo keeps of a profile, but for what was made of the workspace.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    let parent = to.parent().context("a target directory has a parent")?;
    fs::create_dir_all(parent)?;
    cmd::run_quietly(
        Command::new("cp")
            .args(["--archive", "--reflink=auto"])
            .args([from, to]),
    )?;
    for part in [".fingerprint", "build", "deps", ""] {
        let entries = fs::read_dir(to.join(part)).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| is_own(&entry.file_name().to_string_lossy())) {
            let path = entry.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// Whether a file of cargo's is made of the workspace's crates.
fn is_own(name: &str) -> bool {
    let name = name.strip_prefix("lib").unwrap_or(name);
    ["oom-probe", "oom_probe", "hog"]
        .iter()
        .any(|own| name.starts_with(own))
}

fn same(first: &Path, second: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    let (one, other) = (read(first)?, read(second)?);
    let name = first.file_name().unwrap_or_default().to_string_lossy();
    if let Some(at) = difference(&one, &other) {
        bail!("{name} built in another directory differs from byte {at} on");
    }
    ensure!(!one.is_empty(), "{name} is empty");
    Ok(())
}

/// Where two files begin to differ.
fn difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let common = one.iter().zip(other).position(|(a, b)| a != b);
    common.or_else(|| (one.len() != other.len()).then_some(one.len().min(other.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_workspaces_own_crates_are_built_again() {
        for own in [
            "oom-probe",
            "oom-probe-ace55918",
            "liboom_probe_common-1.rlib",
            "hog-12",
            "libhog-1.rmeta",
        ] {
            assert!(is_own(own), "{own}");
        }
        assert!(!is_own("libtokio-1.rlib") && !is_own("ring-1"));
    }

    #[test]
    fn a_difference_is_found_where_it_begins() {
        assert_eq!(difference(b"abc", b"abc"), None);
        assert_eq!(difference(b"abc", b"abd"), Some(2));
        assert_eq!(difference(b"abc", b"ab"), Some(2));
    }
}
