//! Memory of every kind that a cgroup is charged for, taken with mmap or write and held until the
//! hoard goes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr;

use anyhow::{Context, Result};
use hog::units::format_size;

/// What is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Private anonymous memory (anon-rss)
    Anon,
    /// Shared anonymous memory (shmem-rss)
    Shmem,
    /// A file on tmpfs, written and not mapped: charged to the cgroup, in no process' RSS
    Tmpfs,
    /// A file on disk: dirty page cache, written back and reclaimed unless --lock pins it
    File,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anon => "anon",
            Self::Shmem => "shmem",
            Self::Tmpfs => "tmpfs",
            Self::File => "file",
        }
    }
}

/// Whether pages may be swapped out or reclaimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    Reclaimable,
    Locked,
}

/// Memory, held until this is dropped.
pub(crate) struct Hoard {
    kind: Kind,
    pages: Pages,
    file: Option<(File, PathBuf)>,
    mappings: Vec<Mapping>,
    held: u64,
}

/// Memory that was mapped and is unmapped on drop. Nobody holds a reference into it.
struct Mapping {
    address: usize,
    length: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let start = ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: the range was mapped by `map` and is unmapped only here; nothing points into it.
        unsafe { libc::munmap(start, self.length) };
    }
}

impl Hoard {
    /// Prepares to hold memory. Files are made in `directory` without a name, so that they go with
    /// the process however it ends, or under `keep`, where they stay and stay charged.
    pub(crate) fn new(
        kind: Kind,
        pages: Pages,
        directory: &Path,
        keep: Option<&str>,
    ) -> Result<Self> {
        let file = match kind {
            Kind::Anon | Kind::Shmem => None,
            Kind::Tmpfs | Kind::File => Some((open(directory, keep)?, directory.to_owned())),
        };
        no_huge_pages();
        Ok(Self {
            kind,
            pages,
            file,
            mappings: Vec::new(),
            held: 0,
        })
    }

    /// Private anonymous memory, the plainest kind.
    pub(crate) fn anonymous() -> Self {
        no_huge_pages();
        Self {
            kind: Kind::Anon,
            pages: Pages::Reclaimable,
            file: None,
            mappings: Vec::new(),
            held: 0,
        }
    }

    /// Bytes held, a multiple of the page size.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Takes at least `bytes` more, rounded up to whole pages, and touches every page.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<()> {
        let page = page_size();
        let length = bytes
            .div_ceil(page)
            .checked_mul(page)
            .and_then(|length| usize::try_from(length).ok())
            .context("a step larger than the address space")?;
        self.take(length).with_context(|| {
            format!(
                "no {} more after {}",
                format_size(bytes),
                format_size(self.held)
            )
        })?;
        self.held += length as u64;
        Ok(())
    }

    /// Holds `size` bytes in all, taken as fast as possible.
    pub(crate) fn fill(&mut self, size: u64) -> Result<()> {
        const CHUNK: u64 = 1 << 20;
        while self.held < size {
            self.grow(CHUNK.min(size - self.held))?;
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<()> {
        let start = if let Some((file, directory)) = &self.file {
            fill(file, self.held, length)
                .with_context(|| format!("cannot write to {}", directory.display()))?;
            if self.pages == Pages::Reclaimable {
                return Ok(());
            }
            map(libc::MAP_SHARED, Some(file), self.held, length)?
        } else {
            let sharing = match self.kind {
                Kind::Shmem => libc::MAP_SHARED,
                _ => libc::MAP_PRIVATE,
            };
            map(sharing | libc::MAP_ANONYMOUS, None, 0, length)?
        };
        self.mappings.push(Mapping {
            address: start.expose_provenance(),
            length,
        });
        if self.pages == Pages::Locked {
            // SAFETY: the range was mapped just now; locking changes none of its contents.
            if unsafe { libc::mlock(start.cast(), length) } != 0 {
                return Err(io::Error::last_os_error())
                    .context("cannot lock memory; raise `ulimit -l` or try as root");
            }
        }
        for offset in (0..length).step_by(usize::try_from(page_size())?) {
            // SAFETY: offset < length, and the range was mapped writable just now and is written by
            // nobody else.
            unsafe { start.add(offset).write_volatile(1) };
        }
        Ok(())
    }
}

fn map(flags: i32, file: Option<&File>, offset: u64, length: usize) -> Result<*mut u8> {
    let descriptor = file.map_or(-1, AsRawFd::as_raw_fd);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            protection,
            flags,
            descriptor,
            offset.try_into()?,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error()).context("cannot map memory");
    }
    Ok(start.cast())
}

fn fill(file: &File, offset: u64, length: usize) -> io::Result<()> {
    static BLOCK: [u8; 1 << 16] = [1; 1 << 16];
    for written in (0..length).step_by(BLOCK.len()) {
        let block = &BLOCK[..BLOCK.len().min(length - written)];
        file.write_all_at(block, offset + written as u64)?;
    }
    Ok(())
}

fn open(directory: &Path, keep: Option<&str>) -> Result<File> {
    match keep {
        Some(name) => OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(directory.join(name)),
        None => tempfile::tempfile_in(directory),
    }
    .with_context(|| {
        format!(
            "cannot make a file in {}; choose another --dir",
            directory.display()
        )
    })
}

/// Huge pages would make a step of one page cost 2 MiB.
fn no_huge_pages() {
    // SAFETY: PR_SET_THP_DISABLE takes numbers only. A kernel without huge pages refuses it, which
    // serves as well.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

fn page_size() -> u64 {
    // SAFETY: sysconf takes a number; the page size is always known.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hoard_holds_whole_pages_of_every_kind() {
        for kind in [Kind::Anon, Kind::Shmem, Kind::Tmpfs, Kind::File] {
            let directory = std::env::temp_dir();
            let mut hoard = Hoard::new(kind, Pages::Reclaimable, &directory, None).unwrap();
            hoard.grow(1).unwrap();
            hoard.grow(3 * page_size()).unwrap();
            assert_eq!(hoard.held(), 4 * page_size(), "{kind:?}");
        }
    }
}
