//! Debian's packages, read and unpacked without installing anything: kernels and QEMU for the
//! emulated machines, programs for the tests and the bench.

mod apt;
#[cfg(feature = "full")]
mod libraries;
mod mirror;
mod suite;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

pub(crate) use apt::{Apt, Archive, output};
#[cfg(feature = "full")]
pub(crate) use libraries::libraries;
pub(crate) use suite::Suite;

use crate::toolchain;

/// The directory that these packages of a suite, and nothing that they depend on, are unpacked in,
/// under the name `name`; got once.
///
/// # Errors
/// There is no apt here, or it cannot get them.
pub(crate) fn unpacked(suite: Suite, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let names = packages.iter().map(ToString::to_string).collect();
    got(suite, name, |_| Ok(names))
}

/// The directory that these packages and all that they depend on, the C library too, are unpacked
/// in, under the name `name`; got once.
///
/// # Errors
/// As [`unpacked`].
pub(crate) fn unpacked_whole(suite: Suite, name: &str, packages: &[&str]) -> Result<PathBuf> {
    got(suite, name, |apt| apt.closure(packages))
}

fn got(
    suite: Suite,
    name: &str,
    packages: impl FnOnce(&Apt) -> Result<Vec<String>>,
) -> Result<PathBuf> {
    let cache = toolchain::cache_dir()?.join("debian");
    let root = cache.join(suite.name()).join(name);
    if !root.exists() {
        eprintln!(
            "xtask: getting {name} from Debian's packages into {}, once",
            root.display()
        );
        let mirror = env::var("OOM_PROBE_DEBIAN_MIRROR").ok();
        let archive = Archive {
            mirror: mirror.as_deref(),
            suites: &[suite],
            architecture: architecture()?,
        };
        let apt = Apt::open(&cache.join("apt").join(suite.name()), archive)?;
        unpack(&apt.download(&packages(&apt)?)?, &root)?;
    }
    Ok(root)
}

/// This machine's, in Debian's words.
///
/// # Errors
/// Debian has no word for it, or it is not known here.
pub(crate) fn architecture() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no Debian architecture is known for {other}"),
    }
}

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
