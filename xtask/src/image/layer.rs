//! An image's only layer: one program, and nothing else.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

/// The directory that the program lies in.
pub(super) const DIRECTORY: &str = "usr/bin";

/// The layer as a tar archive.
///
/// # Errors
/// The program's name does not fit into the archive.
pub(super) fn tar(name: &str, program: &[u8], time: u64) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut parent = String::new();
    for part in DIRECTORY.split('/') {
        parent += &format!("{part}/");
        let mut header = header(EntryType::Directory, 0, time);
        archive.append_data(&mut header, &parent, &[][..])?;
    }
    let mut header = header(EntryType::Regular, program.len() as u64, time);
    archive.append_data(&mut header, format!("{parent}{name}"), program)?;
    Ok(archive.into_inner()?)
}

/// The header of a file or directory that belongs to root and anybody may use.
fn header(kind: EntryType, size: u64, time: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(time);
    header
}

/// The same bytes for the same bytes: no name and no time of its own.
///
/// # Errors
/// None in memory.
pub(super) fn compress(tar: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    gzip.write_all(tar)?;
    Ok(gzip.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_layer_holds_one_program_that_belongs_to_root() {
        let layer = tar("hog", b"#!", 7).unwrap();
        let mut archive = tar::Archive::new(&layer[..]);
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                let header = entry.header();
                assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 7));
                assert_eq!(header.mode().unwrap(), 0o755);
                (entry.path().unwrap().display().to_string(), content)
            })
            .collect();
        let expected = [
            ("usr/", &b""[..]),
            ("usr/bin/", b""),
            ("usr/bin/hog", b"#!"),
        ];
        assert_eq!(
            found,
            expected.map(|(path, content)| (path.to_owned(), content.to_vec()))
        );
    }

    #[test]
    fn what_is_compressed_comes_out_again() {
        let mut plain = Vec::new();
        let compressed = compress(b"aaaaaaaaaa").unwrap();
        flate2::read::GzDecoder::new(&compressed[..])
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(plain, b"aaaaaaaaaa");
    }
}
