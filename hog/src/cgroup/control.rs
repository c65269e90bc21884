//! The files that set a cgroup: never created, and written only where the kernel reads them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::Error;

/// Opens a file of a cgroup for writing.
///
/// A file of the same name on another file system takes any bytes and limits nothing.
///
/// # Errors
/// [`Error::NotACgroup`] where the file is on another file system; else what the kernel answers.
pub fn open(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::io("write", path, source);
    // Without create and without truncate: neither means anything on a cgroup file system.
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    if is_on_cgroup_file_system(&file).map_err(failed)? {
        Ok(file)
    } else {
        Err(Error::NotACgroup(path.to_owned()))
    }
}

/// Writes a value into a file of a cgroup.
///
/// # Errors
/// As [`open`].
pub fn write(path: &Path, value: &str) -> Result<(), Error> {
    open(path)?
        .write_all(value.as_bytes())
        .map_err(|source| Error::io("write", path, source))
}

/// include/uapi/linux/magic.h.
fn is_on_cgroup_file_system(file: &File) -> io::Result<bool> {
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and the kernel writes one statfs into memory that is that large.
    if unsafe { libc::fstatfs(file.as_raw_fd(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so that all of it is written.
    let found = unsafe { found.assume_init() };
    // Its type differs between C libraries, and so does that of the constants.
    let kind = i128::from(found.f_type);
    Ok([libc::CGROUP_SUPER_MAGIC, libc::CGROUP2_SUPER_MAGIC]
        .into_iter()
        .any(|cgroup| i128::from(cgroup) == kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_elsewhere_is_neither_made_nor_written() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("cgroup.procs");
        let error = write(&missing, "0").unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(!missing.exists());

        let plain = directory.path().join("memory.max");
        std::fs::write(&plain, "max").unwrap();
        let error = write(&plain, "0").unwrap_err();
        assert!(matches!(error, Error::NotACgroup(_)), "{error}");
        assert_eq!(std::fs::read_to_string(&plain).unwrap(), "max");
    }
}
