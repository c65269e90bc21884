//! Files of procfs, which do not tell how large they are.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// More than any file that is read here has, on most machines.
const ROOM: usize = 8 << 10;

/// The whole of a file, by one read(2) and one that finds the end.
///
/// [`std::fs::read`] asks for 32 bytes, and then for more and more. The kernel begins anew each time
/// (fs/seq_file.c `seq_read_iter`), which for `vmstat` is a sum over all CPUs.
///
/// # Errors
/// As [`std::fs::read`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ROOM);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same of a file that is text.
///
/// # Errors
/// As [`std::fs::read_to_string`].
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::with_capacity(ROOM);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_a_size_are_read_whole_and_larger_ones_too() {
        let path = Path::new("/proc/self/mounts");
        assert_eq!(read(path).unwrap(), std::fs::read(path).unwrap());
        let large = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(large.path(), "x".repeat(3 * ROOM)).unwrap();
        assert_eq!(read_to_string(large.path()).unwrap().len(), 3 * ROOM);
    }
}
