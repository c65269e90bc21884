//! Debian's packages, read and unpacked without installing anything: kernels and QEMU for the
//! emulated machines, programs for the tests.

mod apt;
mod mirror;
mod suite;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

pub(crate) use apt::{Apt, Archive, output};
pub(crate) use suite::Suite;

/// Unpacks packages into `root`, which appears only once it is whole: an interrupted run leaves no
/// half of one. The package files are removed.
///
/// # Errors
/// dpkg-deb is missing or fails, or the directory cannot be written.
pub(crate) fn unpack(packages: &[PathBuf], root: &Path) -> Result<()> {
    let partial = root.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
    for package in packages {
        output(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(package)
                .arg(&partial),
        )?;
        fs::remove_file(package)?;
    }
    fs::rename(&partial, root).with_context(|| format!("rename to {}", root.display()))
}
