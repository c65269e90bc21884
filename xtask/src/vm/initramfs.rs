//! The file system that every machine starts from: PID 1, the programs, and what to run.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cpio::Archive;

/// Directories that PID 1 mounts on or writes to.
const DIRECTORIES: [&str; 7] = ["bin", "dev", "proc", "run", "sys", "tmp", "etc"];

/// What goes into an initramfs.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The static program that runs as PID 1.
    pub(crate) init: PathBuf,
    /// Static programs and the names they get in `/bin`.
    pub(crate) programs: Vec<(String, PathBuf)>,
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
    archive.finish()?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}
