//! What goes on without a daemon: programs, ring and ledger, pinned in a directory of a bpffs.
//!
//! ```text
//! <pin-dir>/holder             a symbolic link that says in words who has the directory
//! <pin-dir>/ledger             the counts, and which generation of programs records
//! <pin-dir>/<generation>/      one for each set of programs, named for when it was attached
//!     ring                     what they record
//!     <program>                the link of each, which keeps it attached
//!     signal_program           one that is asked how often it was not run
//!     build                    a symbolic link that says what they were made from
//! ```
//!
//! `ls` shows all of it, and nothing but the maps takes bpf(2) to look at.

mod dir;
mod generation;
mod object;
mod recording;
mod state;

use std::fs;
use std::io;
use std::path::PathBuf;

pub use dir::{Held, OpenError, PinDir};
pub use generation::{Build, Generation};
pub(crate) use recording::{Recording, Silent, ring_of};
pub use state::PinDirState;

/// Where a directory of pins is by default.
pub const PIN_DIR: &str = "/sys/fs/bpf/oom-probe";

/// The pins of a daemon that captures.
#[derive(Debug)]
pub struct Pins {
    dir: PinDir,
    /// What the next daemon cannot do without.
    needed: Vec<PathBuf>,
    /// Generations that record no more: their rings are still to be read.
    left: Vec<Generation>,
}

/// The pins have vanished under the daemon: what the programs record would be lost with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is gone: somebody removed it or unmounted its bpffs; ending, so that the next start pins anew", path = path.display())]
pub struct Gone {
    /// The first that is missing.
    pub path: PathBuf,
}

impl Pins {
    /// The pins of a generation that records, and of those that did before.
    #[must_use]
    pub fn new(dir: PinDir, generation: &Generation, build: &Build, left: Vec<Generation>) -> Self {
        let links = build.programs.iter().map(|name| generation.link(name));
        let needed = [dir.ledger(), generation.ring()].into_iter().chain(links);
        Self {
            needed: needed.collect(),
            dir,
            left,
        }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &PinDir {
        &self.dir
    }

    /// Whether all that the next daemon needs is still there. Takes no bpf(2).
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), Gone> {
        let is_gone = |path: &&PathBuf| {
            fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        match self.needed.iter().find(is_gone) {
            Some(path) => Err(Gone { path: path.clone() }),
            None => Ok(()),
        }
    }

    /// Removes the generations that record no more. To be called once their rings were read.
    pub fn forget_left(&mut self) {
        remove(&std::mem::take(&mut self.left));
    }
}

/// Removes generations, and says what cannot be removed.
pub(crate) fn remove(generations: &[Generation]) {
    for generation in generations {
        if let Err(error) = generation.remove() {
            tracing::warn!("cannot remove the pins of replaced programs: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_notices_which_pin_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pins");
        let dir = dir::for_test(&path);
        let generation = Generation::new(&path, 9);
        let build = Build {
            identity: "a".into(),
            programs: vec!["mark_raw_tp".into()],
        };
        generation.create().unwrap();
        let files = [
            dir.ledger(),
            generation.ring(),
            generation.link("mark_raw_tp"),
        ];
        let pins = Pins::new(dir, &generation, &build, Vec::new());
        for file in &files {
            fs::write(file, "").unwrap();
        }
        assert_eq!(pins.check(), Ok(()));
        for file in files {
            fs::remove_file(&file).unwrap();
            assert_eq!(pins.check(), Err(Gone { path: file.clone() }));
            fs::write(&file, "").unwrap();
        }
        fs::remove_dir_all(&path).unwrap();
        assert!(pins.check().is_err());
    }
}
