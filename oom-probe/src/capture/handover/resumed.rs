//! Which records of a ring have been dealt with before a restart.

use std::collections::HashSet;

use crate::{capture::ring::RingState, journal::entry::Counted, model::kill::KillId};

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
    /// `rings` are those that had been read, `counted` the kills that [`is_read_again`].
    pub(crate) fn new(rings: Vec<RingState>, counted: &[Counted]) -> Self {
        let counted = counted.iter().map(|Counted { process, .. }| KillId {
            tgid: process.tgid,
            start_time_ns: process.start_time_ns,
        });
        Self {
            rings,
            counted: counted.collect(),
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

/// Whether the kill's record is still in its ring, for the next daemon to read.
pub(crate) fn is_read_again(kill: &Counted, rings: &[RingState]) -> bool {
    rings
        .iter()
        .any(|ring| ring.id == kill.ring && kill.read > ring.released)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::assemble::Remembered,
        model::labels::{Limit, Role, Scope},
    };

    fn counted(tgid: u32, ring: u32, read: u64) -> Counted {
        Counted {
            scope: Scope::Pod,
            limit: Limit::Container,
            role: Role::Primary,
            opened: None,
            process: Remembered {
                tgid,
                start_time_ns: 1,
                role: Some(Role::Primary),
                at_ns: 2,
            },
            ring,
            read,
        }
    }

    const RING: RingState = RingState {
        id: 7,
        released: 100,
        read: 300,
    };

    #[test]
    fn what_had_been_read_is_read_again() {
        let again = Again::new(vec![RING], &[]);
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
        let mut again = Again::new(vec![RING], &[counted(2, 7, 200)]);
        assert!(!again.is_counted(key(1)));
        assert!(again.is_counted(key(2)));
        assert!(!again.is_counted(key(2)), "once");
    }

    #[test]
    fn a_kill_is_told_again_as_long_as_its_record_is_not_released() {
        for (kill, expected) in [
            (counted(1, 7, 100), false),
            (counted(1, 7, 200), true),
            // Its ring is gone.
            (counted(1, 6, 200), false),
        ] {
            assert_eq!(is_read_again(&kill, &[RING]), expected, "{kill:?}");
        }
    }
}
