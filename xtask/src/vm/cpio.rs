//! Writes the `newc` cpio format that the kernel unpacks as an initramfs.
//! Source: `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::io::{self, Write};

const MAGIC: &[u8; 6] = b"070701";
/// Magic and thirteen fields of eight hexadecimal digits.
const HEADER: usize = 110;
const TRAILER: &str = "TRAILER!!!";
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFCHR: u32 = 0o020_000;

/// An archive written entry by entry; [`Archive::finish`] must be called at the end.
pub(crate) struct Archive<W> {
    out: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// A directory; parents must come before what they hold.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, S_IFDIR | 0o755, (0, 0), &[])
    }

    /// A regular file with these permission bits.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, data: &[u8]) -> io::Result<()> {
        self.entry(path, S_IFREG | permissions, (0, 0), data)
    }

    /// A character device, given its major and minor number.
    pub(crate) fn char_device(&mut self, path: &str, device: (u32, u32)) -> io::Result<()> {
        self.entry(path, S_IFCHR | 0o600, device, &[])
    }

    /// Writes the trailer and gives the output back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry(TRAILER, 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), data: &[u8]) -> io::Result<()> {
        let size = fits(path, data.len())?;
        let name_size = path.len() + 1;
        self.entries += 1;
        self.out.write_all(MAGIC)?;
        let fields = [
            self.entries, // inode
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // mtime: the same input gives the same archive
            size,
            0, // major and minor of the file system
            0,
            device.0,
            device.1,
            fits(path, name_size)?,
            0, // checksum, unused in this variant
        ];
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(HEADER + name_size)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out
            .write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

fn fits(path: &str, length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{path}: larger than 4 GiB"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_laid_out_as_the_format_says() {
        let mut archive = Archive::new(Vec::new());
        archive.file("bin/a", 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let header = concat!(
            "070701", "00000001", "000081ed", "00000000", "00000000", "00000001", "00000000",
            "00000005", "00000000", "00000000", "00000000", "00000000", "00000006", "00000000",
        );
        assert_eq!(std::str::from_utf8(&bytes[..HEADER]), Ok(header));
        assert_eq!(&bytes[HEADER..124], b"bin/a\0hello\0\0\0");
        assert_eq!(&bytes[124..130], MAGIC);
    }

    #[test]
    fn a_device_carries_its_numbers_and_a_directory_its_type() {
        let mut archive = Archive::new(Vec::new());
        archive.char_device("c", (5, 1)).unwrap();
        archive.directory("d").unwrap();
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        let field = |entry: usize, index: usize| &text[entry + 6 + 8 * index..][..8];
        assert_eq!(
            [field(0, 1), field(0, 9), field(0, 10)],
            ["00002180", "00000005", "00000001"]
        );
        assert_eq!(field(112, 1), "000041ed");
    }

    #[test]
    fn every_entry_begins_at_a_multiple_of_four() {
        let mut archive = Archive::new(Vec::new());
        for length in 1..9 {
            let text = "x".repeat(length);
            archive.file(&text, 0o644, text.as_bytes()).unwrap();
        }
        let bytes = archive.finish().unwrap();
        let starts: Vec<_> = (0..bytes.len())
            .filter(|&at| bytes[at..].starts_with(MAGIC))
            .collect();
        assert_eq!(starts.len(), 9);
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
        assert_eq!(bytes.len() % 4, 0);
    }
}
