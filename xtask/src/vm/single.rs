//! One machine that runs something else than the real-OOM test.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::args::MIRROR;
use super::fetch::Cache;
use super::initramfs::{self, Contents};
use super::machine::{self, Job};
use super::plan::{self, Facts, Kernel, Planned};
use super::qemu::{Memory, Qemu};
use super::{build, choose_qemu, home, serial, show};

/// A kernel of the catalogue and a QEMU, to run a [`Guest`] with.
pub(crate) struct Machine {
    planned: Planned,
    kernel: PathBuf,
    qemu: Qemu,
    root: PathBuf,
    _lock: File,
}

/// What runs in the machine as its test.
pub(crate) struct Guest {
    /// The name for the directory of its logs.
    pub(crate) name: &'static str,
    /// A program of this crate.
    pub(crate) program: &'static str,
    pub(crate) arguments: Vec<String>,
    /// Programs beside it, by the names that they get in `/bin`.
    pub(crate) programs: Vec<(String, PathBuf)>,
    /// Other files, and their absolute paths there.
    pub(crate) files: Vec<(String, PathBuf)>,
    pub(crate) timeout: Duration,
}

impl Machine {
    /// Gets what is not in the cache.
    ///
    /// # Errors
    /// There is no such machine in the catalogue, or no way to get its kernel or QEMU.
    pub(crate) fn get(machine: &str) -> Result<Self> {
        let (root, lock) = home()?;
        let planned = plan::machines(&[machine.to_owned()], &[], &[])?.pop();
        let planned = planned.context("one name, one machine")?;
        let mirror = std::env::var(MIRROR).ok();
        let cache = Cache::open(mirror)?;
        let kernel = match &planned.kernel {
            Kernel::Package(image) => cache.kernel(image)?,
            Kernel::File(file) => file.clone(),
        };
        Ok(Self {
            planned,
            kernel,
            qemu: choose_qemu(None, &cache)?,
            root,
            _lock: lock,
        })
    }

    /// Runs it to its end; gives all that it said, line by line.
    ///
    /// # Errors
    /// It cannot be built or started, does not end in time, ends with another code than 0, or the
    /// kernel is not what the catalogue says. All that the machine said is shown then.
    pub(crate) fn run(&self, guest: Guest) -> Result<String> {
        let mut programs = guest.programs;
        programs.push(("test".to_owned(), build::package(guest.program)?));
        let contents = Contents {
            init: build::package("vm-init")?,
            programs,
            files: guest.files,
            arguments: guest.arguments,
        };
        let initrd = self.root.join(format!("{}.cpio", guest.name));
        initramfs::write(&contents, &initrd)?;
        let job = Job {
            kernel: &self.kernel,
            initrd: &initrd,
            cmdline: self.planned.cmdline(Facts::Keep),
            memory: Memory::Large,
            dir: self.root.join("run").join(guest.name),
            timeout: guest.timeout,
            rank: 0,
        };
        let ended = machine::run_all(&self.qemu, &[job], 1).remove(0)?;
        let said = serial::parse(&ended.serial);
        let mut problems = self.planned.differences(&said.release, &said.facts);
        if ended.timed_out {
            problems.push(format!("it took more than {:?}", guest.timeout));
        } else if said.exit != Some(0) {
            problems.push("it did not end well".to_owned());
        }
        if !problems.is_empty() {
            show(guest.name, &ended);
            bail!("{}: {}", guest.name, problems.join("; "));
        }
        Ok(ended.serial)
    }
}
