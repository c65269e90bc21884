//! Files on their way out of the machine, through its third serial port.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::serial;

/// Where a test leaves what is to be there when the machine is started again: below it, at the paths
/// that the files have then.
const NEXT_BOOT: &str = "/next-boot";

/// Runs `send` on the port, and waits until all of it has gone through.
pub(crate) fn through_port(
    send: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> Result<(), String> {
    let port = "/dev/ttyS2";
    let mut data = serial::open(port).map_err(|error| format!("{port}: {error}"))?;
    send(&mut data).map_err(|error| format!("send through {port}: {error}"))?;
    serial::drain(&data);
    Ok(())
}

/// Sends a file: a line `PATH SIZE`, followed by its bytes.
pub(crate) fn file(out: &mut impl Write, path: &str, data: &[u8]) -> io::Result<()> {
    writeln!(out, "{path} {}", data.len())?;
    out.write_all(data)
}

/// Whether the test has left something for the next boot.
pub(crate) fn has_next_boot() -> bool {
    Path::new(NEXT_BOOT).exists()
}

/// Sends all that the test has left for the next boot.
pub(crate) fn next_boot(out: &mut impl Write) -> io::Result<()> {
    tree(out, Path::new(NEXT_BOOT), Path::new(NEXT_BOOT))
}

fn tree(out: &mut impl Write, root: &Path, directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            tree(out, root, &path)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            file(out, &format!("/{}", name.display()), &fs::read(&path)?)?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_sent_by_the_paths_that_it_has_at_the_next_boot() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/c"), b"x\n\xff").unwrap();
        let mut out = Vec::new();
        tree(&mut out, root.path(), root.path()).unwrap();
        assert_eq!(out, b"/a/b/c 3\nx\n\xff");
    }
}
