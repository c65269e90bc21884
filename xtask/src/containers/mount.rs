//! A bpffs of the test's own: the machine's may not be mounted, and is nobody's playground.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cmd;

/// A mounted bpffs, unmounted on drop: what is still pinned in it goes with it.
pub(super) struct Bpffs(PathBuf);

impl Bpffs {
    /// Mounts one at a new directory.
    ///
    /// # Errors
    /// This system cannot.
    pub(super) fn mount(at: PathBuf) -> Result<Self> {
        fs::create_dir_all(&at).with_context(|| format!("make {}", at.display()))?;
        cmd::run_quietly(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&at))?;
        Ok(Self(at))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        if let Err(error) = cmd::run_quietly(Command::new("umount").arg(&self.0)) {
            eprintln!("left behind: {}: {error}", self.0.display());
        }
    }
}
