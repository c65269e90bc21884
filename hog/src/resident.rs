//! Programs that take nothing of a limit.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// A program that stays in memory, charged to whoever held it first.
///
/// Else its pages are charged to the cgroup that needs them first, and part of that cgroup's limit
/// is the program: how much the processes can take until they are killed would depend on what was
/// in the page cache.
#[derive(Debug)]
pub struct Resident {
    _pages: Mmap,
}

impl Resident {
    /// Reads the program and locks it in memory until this is dropped.
    ///
    /// # Errors
    /// It cannot be read, or `RLIMIT_MEMLOCK` is less than its size.
    pub fn hold(program: &Path) -> io::Result<Self> {
        let file = File::open(program)?;
        // SAFETY: nobody looks into the mapping, whatever happens to the file.
        let pages = unsafe { Mmap::map(&file) }?;
        pages.lock()?;
        Ok(Self { _pages: pages })
    }
}
