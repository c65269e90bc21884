//! The files of a state directory.
//!
//! | file | what |
//! |---|---|
//! | `snapshot` | generation G: everything up to a moment, replaced by rename(2) |
//! | `journal.G` | everything since that moment |
//! | `journal.G+1` | the same, where a daemon ended while it wrote the next snapshot |
//! | `snapshot.unusable` | what was found and could not be read, for whoever wants to know why |

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{
    entry::{self, Entry, Header, Unreadable, VERSION},
    frame::{self, End, Frames},
    snapshot::{Snapshot, create},
    writer::Disk,
};

/// Journals behind one snapshot: the last, and that of a snapshot that was not finished.
const MAX_JOURNALS: u64 = 2;

/// A directory that nobody else writes to.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    /// Held for the lock.
    _lock: File,
    boot: String,
    generation: u64,
    journal: Option<File>,
}

/// What was found in the directory.
#[derive(Debug, Default)]
pub struct Found {
    /// Frames with entries, each file's behind the one that was written before.
    pub files: Vec<Stored>,
    /// Why there is less than there was.
    pub trouble: Option<Trouble>,
}

/// A file whose frames were checked. It may be of any size, and is read frame by frame.
#[derive(Debug)]
pub struct Stored {
    /// What begins it.
    pub header: Header,
    file: File,
}

/// How a file was found to end.
#[derive(Clone, Copy, Debug)]
struct Checked {
    end: End,
    /// Its last entry says that there is nothing more.
    is_complete: bool,
}

/// Why a state could not be read, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There is none.
    #[error("there is no state yet")]
    Nothing,
    /// A file is not what it should be.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: Unreadable,
    },
    /// An entry makes no sense.
    #[error("{0}")]
    Content(Unreadable),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Stored {
    /// Its frames after the header.
    ///
    /// # Errors
    /// The disk does not give it any more.
    pub fn frames(&self) -> Result<Frames<impl Read>, Unreadable> {
        let mut file = &self.file;
        file.rewind()?;
        let (_, frames) = entry::open(BufReader::new(file))?;
        Ok(frames)
    }

    /// Reads it to its end.
    fn open(file: File) -> Result<(Self, Checked), Unreadable> {
        let (header, mut frames) = entry::open(BufReader::new(&file))?;
        let mut is_complete = false;
        while let Some(frame) = frames.next()? {
            is_complete = is_end(frame);
        }
        let end = frames.end();
        Ok((Self { header, file }, Checked { end, is_complete }))
    }
}

impl Files {
    /// Takes the directory, which is made where there is none.
    ///
    /// # Errors
    /// It cannot be made or opened, or another daemon has it.
    pub fn open(directory: &Path, boot: &str) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let lock = File::open(directory)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => {
                io::Error::new(io::ErrorKind::WouldBlock, "another oom-probe uses it")
            }
            error => error.into(),
        })?;
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
            boot: boot.to_owned(),
            generation: 0,
            journal: None,
        })
    }

    /// Reads what there is.
    pub fn read(&mut self) -> Found {
        let mut found = Found::default();
        let path = self.path("snapshot");
        match self.stored(&path) {
            Ok(Some((snapshot, checked))) if checked.is_whole() => {
                self.generation = snapshot.header.generation;
                found.files.push(snapshot);
            }
            Ok(None) => {
                // Without what comes before it a journal is of no use.
                self.remove_journals_before(u64::MAX);
                found.trouble = Some(Trouble::Nothing);
                return found;
            }
            Ok(Some((_, checked))) => {
                let why = match checked.end {
                    End::Corrupt => Unreadable::Corrupt,
                    End::Whole | End::Torn => Unreadable::Incomplete,
                };
                found.trouble = Some(Trouble::Unreadable { path, why });
            }
            Err(trouble) => found.trouble = Some(trouble),
        }
        if found.trouble.is_some() {
            self.set_aside();
            return found;
        }
        for generation in self.generation..self.generation + MAX_JOURNALS {
            let path = self.journal_path(generation);
            match self.stored(&path) {
                Ok(Some((journal, checked))) => {
                    self.generation = generation;
                    found.files.push(journal);
                    // A torn end is that of a write that never came to its end: nothing of it was
                    // ever shown.
                    if checked.end == End::Corrupt {
                        let why = Unreadable::Corrupt;
                        found.trouble = Some(Trouble::Unreadable { path, why });
                        break;
                    }
                }
                Ok(None) => {}
                // A journal without its header is one that had just been made.
                Err(Trouble::Unreadable {
                    why: Unreadable::Incomplete,
                    ..
                }) => {}
                Err(trouble) => {
                    found.trouble = Some(trouble);
                    break;
                }
            }
        }
        found
    }

    fn stored(&self, path: &Path) -> Result<Option<(Stored, Checked)>, Trouble> {
        let path = || path.to_owned();
        match File::open(path()) {
            Ok(file) => Stored::open(file).map(Some).map_err(|why| {
                let path = path();
                Trouble::Unreadable { path, why }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                let path = path();
                Err(Trouble::Io { path, source })
            }
        }
    }

    /// What cannot be read is kept, once, for whoever wants to know why or goes back to a later
    /// version.
    fn set_aside(&mut self) {
        let (from, to) = (self.path("snapshot"), self.path("snapshot.unusable"));
        if let Err(error) = fs::rename(&from, &to) {
            tracing::debug!("{} stays where it is: {error}", from.display());
        }
        self.remove_journals_before(u64::MAX);
    }

    fn remove_journals_before(&self, generation: u64) {
        for (number, path) in journals(&self.directory) {
            if number < generation
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::debug!("{} stays: {error}", path.display());
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn journal_path(&self, generation: u64) -> PathBuf {
        self.path(&format!("journal.{generation}"))
    }
}

impl Disk for Files {
    /// With one write(2).
    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        let Some(journal) = &mut self.journal else {
            return Err(io::Error::other("there is no journal"));
        };
        journal
            .write_all(frames)
            .map_err(|error| named(&self.journal_path(self.generation), &error))
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) -> io::Result<u64> {
        let header = Header {
            version: VERSION,
            boot: self.boot.clone(),
            generation: self.generation + 1,
        };
        let head = framed_header(&header)?;
        let path = self.journal_path(header.generation);
        let next = create(&path).and_then(|mut file| file.write_all(&head).map(|()| file));
        let next = next.map_err(|error| named(&path, &error))?;
        // Only now: with a full disk the old pair of snapshot and journal is still the best.
        let (old, new) = (self.path("snapshot"), self.path("snapshot.new"));
        let written = snapshot.write(&new, &head).and_then(|length| {
            fs::rename(&new, &old)?;
            Ok(length)
        });
        match written {
            Ok(length) => {
                self.journal = Some(next);
                self.generation = header.generation;
                self.remove_journals_before(header.generation);
                Ok(length)
            }
            Err(error) => {
                // Both are in the way of nobody should they stay.
                let _ = fs::remove_file(&new);
                let _ = fs::remove_file(&path);
                self.journal = None;
                Err(named(&old, &error))
            }
        }
    }
}

/// Removes the state, and the directory if nothing else is in it.
///
/// # Errors
/// A file cannot be removed, or a daemon uses it.
pub fn remove(directory: &Path) -> io::Result<()> {
    let lock = match File::open(directory) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    let named = ["snapshot", "snapshot.new", "snapshot.unusable"].map(|name| directory.join(name));
    let journals = journals(directory).into_iter().map(|(_, path)| path);
    for path in named.into_iter().chain(journals) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // It may be a mount point, or have something of somebody else's in it.
    if let Err(error) = fs::remove_dir(directory) {
        tracing::debug!("{} stays: {error}", directory.display());
    }
    Ok(())
}

fn journals(directory: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix("journal.")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect()
}

impl Checked {
    fn is_whole(self) -> bool {
        self.is_complete && self.end == End::Whole
    }
}

/// Whether the frame is the one that ends a snapshot.
fn is_end(frame: &[u8]) -> bool {
    // Of some bytes, so that no other is taken apart for it.
    frame.len() < 16
        && entry::entries(frame).is_ok_and(|entries| matches!(entries.last(), Some(Entry::End)))
}

fn framed_header(header: &Header) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    frame::push(&mut head, &serde_json::to_vec(header)?);
    Ok(head)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
