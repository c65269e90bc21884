//! An image's only layer: one program, and nothing else.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::Header;

/// The layer as a tar archive: a program that belongs to root and that anybody may run.
///
/// # Errors
/// The program's name does not fit into the archive.
pub(super) fn tar(name: &str, program: &[u8], time: u64) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = Header::new_ustar();
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(program.len() as u64);
    header.set_mtime(time);
    archive.append_data(&mut header, name, program)?;
    Ok(archive.into_inner()?)
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
        assert_eq!(found, [("hog".to_owned(), b"#!".to_vec())]);
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
