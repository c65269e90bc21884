//! The file system that every machine starts from: PID 1, the programs, and what to run.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{
    cpio::Archive,
    facts::{self, Fact},
};

/// Directories that PID 1 mounts on or writes to.
const DIRECTORIES: [&str; 7] = ["bin", "dev", "proc", "run", "sys", "tmp", "etc"];

/// What goes into an initramfs.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The static program that runs as PID 1.
    pub(crate) init: PathBuf,
    /// Static programs and the names they get in `/bin`.
    pub(crate) programs: Vec<(String, PathBuf)>,
    /// Other files, and their absolute paths there.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// Arguments of `/bin/test`; none of them may have a line break.
    pub(crate) arguments: Vec<String>,
}

/// Writes the initramfs, uncompressed: unpacking would cost more than copying under emulation.
///
/// # Errors
/// A program cannot be read, or the file cannot be written.
pub(crate) fn write(contents: &Contents, to: &Path) -> Result<()> {
    let file = fs::File::create(to).with_context(|| format!("create {}", to.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    // The kernel opens it as PID 1's standard streams before anything is mounted.
    archive.char_device("dev/console", (5, 1))?;
    archive.file("init", 0o755, &read(&contents.init)?)?;
    for (name, path) in &contents.programs {
        archive.file(&format!("bin/{name}"), 0o755, &read(path)?)?;
    }
    let arguments: String = contents
        .arguments
        .iter()
        .map(|a| format!("{a}\n"))
        .collect();
    archive.file("etc/test-arguments", 0o644, arguments.as_bytes())?;
    let mut made = BTreeSet::new();
    for (path, file) in &contents.files {
        let relative = facts::relative(path)?;
        for parent in parents(relative) {
            if made.insert(parent.to_owned()) {
                archive.directory(&parent.to_string_lossy())?;
            }
        }
        archive.file(&relative.to_string_lossy(), 0o755, &read(file)?)?;
    }
    archive.finish()?;
    Ok(())
}

/// The directories that a file lies in, outermost first.
fn parents(relative: &Path) -> Vec<&Path> {
    let mut parents: Vec<_> = relative.ancestors().skip(1).collect();
    // The last is the root itself.
    parents.pop();
    parents.reverse();
    parents
}

/// Writes an initramfs with these files besides: the kernel unpacks one archive after another, and a
/// later file takes the place of an earlier one.
///
/// # Errors
/// A file has no usable path, or something cannot be read or written.
pub(crate) fn extend(initrd: &Path, files: &[Fact<'_>], to: &Path) -> Result<()> {
    fs::copy(initrd, to).with_context(|| format!("copy to {}", to.display()))?;
    let file = fs::File::options().append(true).open(to)?;
    let mut archive = Archive::new(BufWriter::new(file));
    for Fact { path, data } in files {
        let relative = facts::relative(path)?;
        for parent in parents(relative) {
            archive.directory(&parent.to_string_lossy())?;
        }
        archive.file(&relative.to_string_lossy(), 0o600, data)?;
    }
    archive.finish()?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_follows_on_a_multiple_of_four_with_its_directories_first() {
        let scratch = tempfile::tempdir().unwrap();
        let [init, plain, extended] = ["init", "plain", "extended"].map(|f| scratch.path().join(f));
        fs::write(&init, "odd").unwrap();
        let contents = Contents {
            init,
            programs: Vec::new(),
            files: Vec::new(),
            arguments: Vec::new(),
        };
        write(&contents, &plain).unwrap();
        let fact = |path| Fact { path, data: b"x" };
        extend(&plain, &[fact("/a/b/c")], &extended).unwrap();
        let (before, all) = (fs::read(&plain).unwrap(), fs::read(&extended).unwrap());
        assert_eq!(before.len() % 4, 0);
        assert_eq!(all[..before.len()], before);
        let added = String::from_utf8_lossy(&all[before.len()..]);
        let places =
            ["a\0", "a/b\0", "a/b/c\0", "TRAILER!!!"].map(|name| added.find(name).unwrap());
        assert!(places.is_sorted(), "{places:?}");
        assert!(extend(&plain, &[fact("/../c")], &extended).is_err());
    }
}
