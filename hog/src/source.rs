//! Options that say what kind of memory is taken, and where its file lies.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::memory::{Hoard, Kind, Pages};

/// What a process takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Memory")]
pub(crate) struct Source {
    /// What to take
    #[arg(long, value_enum, default_value = "anon")]
    pub(crate) kind: Kind,

    /// Where tmpfs and file put their file [default: /dev/shm for tmpfs, the temporary directory for file]
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
        let directory = dir.clone().unwrap_or_else(|| match kind {
            Kind::Tmpfs => PathBuf::from("/dev/shm"),
            _ => std::env::temp_dir(),
        });
        Hoard::new(*kind, pages, &directory, keep.as_deref())
    }
}
