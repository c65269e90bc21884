//! Which records of a ring have been dealt with before a restart.

use std::collections::HashSet;

use crate::{model::kill::KillId, ring::RingState};

/// A ring, by the id of its map, and up to where it has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The ring.
    pub ring: u32,
    /// Up to where.
    pub read: u64,
}

/// Where the reader of before a restart was.
#[derive(Debug, Default)]
pub struct Resume {
    /// How far each ring had been read.
    pub rings: Vec<RingState>,
    /// The kills that were counted and whose records are still in a ring.
    pub counted: Vec<KillId>,
    /// Marks without a record that were counted as kills.
    pub dropped_marks: u64,
}

/// How far the rings had been read, and which kills had been counted though their records are to
/// be read again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    rings: Vec<RingState>,
    counted: HashSet<KillId>,
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is read again for what it says of the event under way, and was counted.
    Again,
    /// It is new.
    New,
}

impl Again {
    /// `rings` are those that had been read, `counted` the kills that [`Position::is_in`] them.
    pub(crate) fn new(rings: Vec<RingState>, counted: Vec<KillId>) -> Self {
        Self {
            rings,
            counted: counted.into_iter().collect(),
        }
    }

    /// What to do with the record of that ring that ends at `read`.
    pub(crate) fn turn(&self, ring: u32, read: u64) -> Turn {
        let known = self.rings.iter().find(|known| known.id == ring);
        match known {
            Some(known) if read <= known.read => Turn::Again,
            _ => Turn::New,
        }
    }

    /// Whether that kill, which the assembler tells once more, was counted.
    pub(crate) fn is_counted(&mut self, kill: KillId) -> bool {
        self.counted.remove(&kill)
    }
}

impl Position {
    /// Whether the record that ends here is still in its ring, for the next daemon to read.
    #[must_use]
    pub fn is_in(self, rings: &[RingState]) -> bool {
        rings
            .iter()
            .any(|ring| ring.id == self.ring && self.read > ring.released)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: RingState = RingState {
        id: 7,
        released: 100,
        read: 300,
    };

    #[test]
    fn what_had_been_read_is_read_again() {
        let again = Again::new(vec![RING], Vec::new());
        for (ring, read, turn) in [
            (7, 156, Turn::Again),
            (7, 300, Turn::Again),
            (7, 356, Turn::New),
            // Another ring begins at 0.
            (8, 56, Turn::New),
        ] {
            assert_eq!(again.turn(ring, read), turn, "{ring} {read}");
        }
    }

    #[test]
    fn a_kill_that_is_told_again_is_not_counted_again() {
        let key = |tgid| KillId {
            tgid,
            start_time_ns: 1,
        };
        let mut again = Again::new(vec![RING], vec![key(2)]);
        assert!(!again.is_counted(key(1)));
        assert!(again.is_counted(key(2)));
        assert!(!again.is_counted(key(2)), "once");
    }

    #[test]
    fn a_kill_is_told_again_as_long_as_its_record_is_not_released() {
        for (ring, read, expected) in [
            (7, 100, false),
            (7, 200, true),
            // Its ring is gone.
            (6, 200, false),
        ] {
            assert_eq!(
                Position { ring, read }.is_in(&[RING]),
                expected,
                "{ring} {read}"
            );
        }
    }
}
