//! The directory of pins: that it is one, and that one daemon has it.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::generation;
use crate::sys::{escape::escape, host_name};

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: rustix::fs::FsWord = 0xcafe_4a11;
/// A symbolic link that says who has the lock: a bpffs takes no regular files.
const HOLDER: &str = "holder";
/// The ledger's pin.
const LEDGER: &str = "ledger";

/// The directory, locked: no other daemon has it as long as this lives.
#[derive(Debug)]
pub struct PinDir {
    path: PathBuf,
    /// Its lock goes with the descriptor, however the process ends.
    _lock: File,
}

/// Why there is no directory to pin in.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is no place for pins.
    #[error("{path} is on no bpffs: mount one (`mount -t bpf bpf /sys/fs/bpf`) or name a directory on one by --pin-dir", path = path.display())]
    NoBpffs {
        /// The directory or what is above it.
        path: PathBuf,
    },
    /// It cannot be made or opened.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon has it.
    #[error(transparent)]
    Held(#[from] Held),
}

/// Another daemon captures with these pins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is held by {holder}: stop it first, or give this one its own --pin-dir", path = path.display())]
pub struct Held {
    /// The directory.
    pub path: PathBuf,
    /// Who has it, in words.
    pub holder: String,
}

impl PinDir {
    /// Makes the directory where it is not there, and locks it.
    ///
    /// # Errors
    /// It is on no bpffs, cannot be used, or another daemon has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        loop {
            make(path)?;
            // Whoever had it last may have removed it.
            if let Some(dir) = Self::lock(path)? {
                dir.leave_word().map_err(|error| failed(path, error))?;
                return Ok(dir);
            }
        }
    }

    /// Locks the directory where it is there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>, OpenError> {
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            on_bpffs(path)?;
        }
        Self::lock(path)
    }

    /// `None` where it is not there, or not for long.
    fn lock(path: &Path) -> Result<Option<Self>, OpenError> {
        let failed = |error| failed(path, error);
        loop {
            let lock = match File::open(path) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                if error != rustix::io::Errno::WOULDBLOCK {
                    return Err(failed(error.into()));
                }
                return Err(OpenError::Held(Held {
                    path: path.to_owned(),
                    holder: holder(path),
                }));
            }
            let locked = lock.metadata().map_err(failed)?.ino();
            if fs::metadata(path).is_ok_and(|now| now.ino() == locked) {
                return Ok(Some(Self {
                    path: path.to_owned(),
                    _lock: lock,
                }));
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the ledger is pinned.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.path.join(LEDGER)
    }

    /// Removes what daemons have pinned, and the directory where nothing else is in it; returns
    /// whether anything was there.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn remove(self) -> io::Result<bool> {
        let Self { path, _lock } = self;
        let mut removed = false;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if generation::is_name(&entry.file_name()) {
                fs::remove_dir_all(entry.path())?;
                removed = true;
            }
        }
        for name in [LEDGER, HOLDER] {
            match fs::remove_file(path.join(name)) {
                Ok(()) => removed |= name != HOLDER,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        // It may be a mount point, or hold what others have pinned.
        let _ = fs::remove_dir(&path);
        Ok(removed)
    }

    /// Says who has the lock, for whoever wants it next.
    fn leave_word(&self) -> io::Result<()> {
        let word = self.path.join(HOLDER);
        match fs::remove_file(&word) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(Holder::this_process().to_string(), word),
        }
    }
}

/// A daemon, as it is told from others: in a PID namespace of its own a pid alone says little.
struct Holder {
    pid: u32,
    host: String,
    since: jiff::Timestamp,
}

impl Holder {
    fn this_process() -> Self {
        Self {
            pid: std::process::id(),
            host: host_name(),
            since: jiff::Timestamp::now(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, host, since } = self;
        write!(f, "pid {pid} on {host} since {since:.0}")
    }
}

/// Who has the lock, as far as that is known.
fn holder(path: &Path) -> String {
    match fs::read_link(path.join(HOLDER)) {
        Ok(word) => escape(word.as_os_str().as_encoded_bytes()),
        Err(_) => "another process, see /proc/locks".to_owned(),
    }
}

/// Whether the directory is on a bpffs, or would be.
pub(super) fn could_be(path: &Path) -> Result<(), OpenError> {
    let there = fs::symlink_metadata(path).is_ok();
    on_bpffs(match path.parent() {
        Some(above) if !there => above,
        _ => path,
    })
}

/// Makes the directory on a bpffs.
fn make(path: &Path) -> Result<(), OpenError> {
    could_be(path)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(path, error)),
        _ => Ok(()),
    }
}

fn on_bpffs(path: &Path) -> Result<(), OpenError> {
    match rustix::fs::statfs(path) {
        Ok(fs) if fs.f_type == BPF_FS_MAGIC => Ok(()),
        Err(error) if error != rustix::io::Errno::NOENT => Err(failed(path, error.into())),
        _ => Err(OpenError::NoBpffs {
            path: path.to_owned(),
        }),
    }
}

fn failed(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        path: path.to_owned(),
        source,
    }
}

/// A directory anywhere, without a lock.
#[cfg(test)]
pub(super) fn for_test(path: &Path) -> PinDir {
    fs::create_dir_all(path).unwrap();
    PinDir {
        path: path.to_owned(),
        _lock: File::open(path).unwrap(),
    }
}
