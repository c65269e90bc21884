//! The pins of one set of programs.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// The ring that the programs write to.
pub(super) const RING: &str = "ring";
/// A symbolic link whose target is a [`Build`].
const BUILD: &str = "build";
/// The program of the hook on signals: it tells how often it was not run.
pub(super) const SIGNAL_PROGRAM: &str = "signal_program";

/// A directory of pins: of a ring and of the links of the programs that write to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// When they were attached, `CLOCK_BOOTTIME` in ns: later ones are larger.
    pub number: u64,
    path: PathBuf,
}

/// What the programs were made from, and which of them are attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Equal for programs that do the same.
    pub identity: String,
    /// Their names: those of their links' pins.
    pub programs: Vec<String>,
}

/// Whether a file of that name is a generation's directory.
pub(super) fn is_name(name: &OsStr) -> bool {
    number(name).is_some()
}

/// 16 hexadecimal digits, lower case.
fn number(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let number = u64::from_str_radix(name, 16).ok()?;
    (format!("{number:016x}") == name).then_some(number)
}

impl Generation {
    /// The generation of that number.
    #[must_use]
    pub fn new(directory: &Path, number: u64) -> Self {
        Self {
            number,
            path: directory.join(format!("{number:016x}")),
        }
    }

    /// Those in a directory of pins, oldest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn all(directory: &Path) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(directory)? {
            if let Some(number) = number(&entry?.file_name()) {
                all.push(Self::new(directory, number));
            }
        }
        all.sort_by_key(|generation| generation.number);
        Ok(all)
    }

    /// Makes its directory.
    ///
    /// # Errors
    /// What mkdir(2) says.
    pub fn create(&self) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(&self.path)
    }

    /// Where the ring is pinned.
    #[must_use]
    pub fn ring(&self) -> PathBuf {
        self.path.join(RING)
    }

    /// Where the program of the hook on signals is pinned.
    #[must_use]
    pub fn signal_program(&self) -> PathBuf {
        self.path.join(SIGNAL_PROGRAM)
    }

    /// Where the link of a program is pinned.
    #[must_use]
    pub fn link(&self, program: &str) -> PathBuf {
        self.path.join(program)
    }

    /// Writes down what it is: after that it is complete.
    ///
    /// # Errors
    /// What symlink(2) says.
    pub fn complete(&self, build: &Build) -> io::Result<()> {
        symlink(build.to_word(), self.path.join(BUILD))
    }

    /// What it is; none where nobody came to write that down.
    #[must_use]
    pub fn build(&self) -> Option<Build> {
        let word = fs::read_link(self.path.join(BUILD)).ok()?;
        Build::from_word(word.to_str()?)
    }

    /// Takes its programs out of the kernel; the ring stays.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn detach(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() != RING {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Build {
    fn to_word(&self) -> String {
        let Self { identity, programs } = self;
        format!("{identity}+{}", programs.join("+"))
    }

    fn from_word(word: &str) -> Option<Self> {
        let (identity, programs) = word.split_once('+')?;
        let programs: Vec<_> = programs.split('+').map(str::to_owned).collect();
        // Without any, or with one that has no name, it is nothing to go on with.
        let is_complete = programs.iter().all(|name| !name.is_empty());
        is_complete.then(|| Self {
            identity: identity.to_owned(),
            programs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_number_of_16_digits() {
        for (name, wanted) in [
            ("00000000000000ff", Some(255)),
            ("00000000000000FF", None),
            ("+0000000000000ff", None),
            ("ff", None),
            ("ledger", None),
            ("", None),
        ] {
            assert_eq!(number(OsStr::new(name)), wanted, "{name}");
        }
    }

    #[test]
    fn a_generation_says_what_it_is_once_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let generation = Generation::new(directory.path(), 7);
        generation.create().unwrap();
        assert_eq!(generation.build(), None);
        let build = Build {
            identity: "0123".into(),
            programs: vec!["mark_raw_tp".into(), "signal_raw_tp".into()],
        };
        generation.complete(&build).unwrap();
        assert_eq!(generation.build(), Some(build));
        assert_eq!(Generation::all(directory.path()).unwrap(), [generation]);
    }

    #[test]
    fn a_generation_without_programs_is_not_complete() {
        for word in ["", "0123", "0123+", "0123+mark_raw_tp+"] {
            assert_eq!(Build::from_word(word), None, "{word:?}");
        }
    }

    #[test]
    fn detaching_leaves_the_ring() {
        let directory = tempfile::tempdir().unwrap();
        let generation = Generation::new(directory.path(), 7);
        generation.create().unwrap();
        for pin in [
            generation.ring(),
            generation.link("mark_raw_tp"),
            generation.signal_program(),
        ] {
            fs::write(pin, "").unwrap();
        }
        generation.detach().unwrap();
        assert!(generation.ring().exists());
        assert!(!generation.link("mark_raw_tp").exists());
        assert!(!generation.signal_program().exists());
        generation.remove().unwrap();
        generation.remove().unwrap();
        assert_eq!(Generation::all(directory.path()).unwrap(), []);
    }
}
