//! Options that say what kind of memory is taken, and where its file lies.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::fs::{FsWord, statfs};

use crate::memory::{Hoard, Kind, Pages};

/// File systems whose page cache is the only copy (include/uapi/linux/magic.h): it cannot be dropped.
const IN_MEMORY: [FsWord; 2] = [0x0102_1994, 0x8584_58f6];

/// What a process takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Memory")]
pub(crate) struct Source {
    /// What to take
    #[arg(long, value_enum, default_value = "anon")]
    pub(crate) kind: Kind,

    /// Where tmpfs and file put their file [default: /dev/shm for tmpfs; for file the temporary directory or /var/tmp, whichever is on a disk]
    #[arg(long, value_name = "DIR", env = "HOG_DIR")]
    dir: Option<PathBuf>,

    /// Lock pages, so that they are neither swapped out nor reclaimed
    #[arg(long)]
    pub(crate) lock: bool,

    /// Leave the file of tmpfs and file behind under this name, as a mounted volume would
    #[arg(long, value_name = "NAME", env = "HOG_KEEP")]
    keep: Option<String>,
}

impl Source {
    pub(crate) fn open(&self) -> Result<Hoard> {
        let Self {
            kind,
            dir,
            lock,
            keep,
        } = self;
        let pages = if *lock {
            Pages::Locked
        } else {
            Pages::Reclaimable
        };
        let directory = match (dir, kind) {
            (Some(dir), _) => dir.clone(),
            (None, Kind::Tmpfs) => PathBuf::from("/dev/shm"),
            (None, Kind::File) => on_disk()?,
            (None, _) => std::env::temp_dir(),
        };
        Hoard::new(*kind, pages, &directory, keep.as_deref())
    }
}

/// A directory for files whose page cache the kernel can drop: many machines have a tmpfs at /tmp.
fn on_disk() -> Result<PathBuf> {
    [std::env::temp_dir(), PathBuf::from("/var/tmp")]
        .into_iter()
        .find(|directory| is_on_disk(directory))
        .context("neither the temporary directory nor /var/tmp is on a disk: name one by --dir")
}

fn is_on_disk(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|found| !IN_MEMORY.contains(&found.f_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tmpfs_is_no_disk() {
        assert!(!is_on_disk(Path::new("/dev/shm")));
    }
}
