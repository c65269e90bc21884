//! Kernels and QEMU out of Debian packages, unpacked into a cache and never installed.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::catalogue::{Image, SUITES};
use crate::debian::{self, Apt, Archive};
use crate::toolchain;

/// Where a kernel package keeps its image: the old place, and that of the newest packages.
const VMLINUZ: [&str; 2] = ["./boot/vmlinuz-*", "./usr/lib/modules/*/vmlinuz"];

/// The cache, which all clones share. The network is used only for what it lacks.
pub(crate) struct Cache {
    root: PathBuf,
    mirror: Option<String>,
    apt: OnceCell<Apt>,
    _lock: File,
}

impl Cache {
    /// Nobody else fetches until it is dropped.
    ///
    /// # Errors
    /// No cache directory is known, or it cannot be written.
    pub(crate) fn open(mirror: Option<String>) -> Result<Self> {
        let root = toolchain::cache_dir()?.join("vm");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        Ok(Self {
            _lock: super::lock(&root.join("lock"))?,
            root,
            mirror,
            apt: OnceCell::new(),
        })
    }

    /// The kernel image, fetched if it is not there yet.
    pub(crate) fn kernel(&self, image: &Image) -> Result<PathBuf> {
        let file = self.root.join("kernels").join(image.id).join("vmlinuz");
        if !file.exists() {
            self.fetch_kernel(image, &file).with_context(|| {
                format!(
                    "fetch the kernel {} (vm-test takes another by --vmlinuz FILE --name NAME)",
                    image.id
                )
            })?;
        }
        Ok(file)
    }

    /// The root directory that QEMU and all its libraries are unpacked in.
    pub(crate) fn qemu_root(&self) -> Result<PathBuf> {
        let root = self.root.join("qemu-trixie");
        if !root.exists() {
            self.fetch_qemu(&root)
                .context("fetch QEMU (vm-test takes another by --qemu PATH)")?;
        }
        Ok(root)
    }

    fn fetch_kernel(&self, image: &Image, file: &Path) -> Result<()> {
        let apt = self.apt()?;
        let Some(package) = newest_package(apt, image)? else {
            let pattern = image.packages[0];
            let suite = image.suite.name();
            bail!(
                "no package {}…{} in {suite}",
                pattern.prefix,
                pattern.suffix
            );
        };
        let [deb] = &apt.download(&[package])?[..] else {
            bail!("one package, one file")
        };
        let dir = file.parent().context("a cached kernel has a directory")?;
        fs::create_dir_all(dir)?;
        let partial = dir.join("vmlinuz.partial");
        extract_vmlinuz(deb, &partial)?;
        // The name appears only once the file is whole: an interrupted run leaves no half kernel.
        fs::rename(&partial, file)?;
        fs::remove_file(deb)?;
        Ok(())
    }

    fn fetch_qemu(&self, root: &Path) -> Result<()> {
        let apt = self.apt()?;
        debian::unpack(&apt.download(&apt.closure(&["qemu-system-x86"])?)?, root)
    }

    fn apt(&self) -> Result<&Apt> {
        if let Some(apt) = self.apt.get() {
            return Ok(apt);
        }
        let archive = Archive {
            mirror: self.mirror.as_deref(),
            suites: &SUITES,
            architecture: "amd64",
        };
        let apt = Apt::open(&self.root.join("apt"), archive)?;
        Ok(self.apt.get_or_init(|| apt))
    }
}

fn newest_package(apt: &Apt, image: &Image) -> Result<Option<String>> {
    for pattern in image.packages {
        let names = apt.names(pattern.prefix)?;
        if let Some(name) = pattern.newest(names.iter().map(String::as_str)) {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// Takes the kernel image alone out of a package that may hold hundreds of megabytes of modules.
fn extract_vmlinuz(deb: &Path, to: &Path) -> Result<()> {
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(Stdio::piped())
        .spawn()
        .context("run dpkg-deb")?;
    let tar = unpack.stdout.take().context("dpkg-deb has an output")?;
    // tar complains about the pattern that does not match: what counts is the file it gives.
    Command::new("tar")
        .args(["-xO", "--wildcards"])
        .args(VMLINUZ)
        .stdin(tar)
        .stdout(File::create(to)?)
        .stderr(Stdio::null())
        .status()
        .context("run tar")?;
    unpack.wait()?;
    if fs::metadata(to)?.len() == 0 {
        bail!("{} holds no kernel image", deb.display());
    }
    Ok(())
}
