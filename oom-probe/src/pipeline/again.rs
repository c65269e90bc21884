//! Which records of a ring have been dealt with before a restart.

use std::collections::HashSet;

use crate::{kernel::ring::RingState, kill::KillId, state::entry::Counted};

/// How far the rings had been read, and which kills had been counted though their OOM event was
/// still under way.
#[derive(Debug, Default)]
pub(super) struct Again {
    rings: Vec<RingState>,
    counted: HashSet<KillId>,
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing: it was dealt with, and nothing that follows depends on it.
    Past,
    /// It says what the event under way is about, but was counted.
    Again,
    /// It is new.
    New,
}

impl Again {
    pub(super) fn new(rings: Vec<RingState>, counted: &[Counted]) -> Self {
        let unsettled = counted
            .iter()
            .filter(|kill| is_unsettled(kill, &rings))
            .map(|Counted { process, .. }| KillId {
                tgid: process.tgid,
                start_time_ns: process.start_time_ns,
            })
            .collect();
        Self {
            rings,
            counted: unsettled,
        }
    }

    /// What to do with the record of that ring that ends at `read`.
    pub(super) fn turn(&self, ring: u32, read: u64) -> Turn {
        match self.rings.iter().find(|known| known.id == ring) {
            Some(known) if read <= known.settled => Turn::Past,
            Some(known) if read <= known.read => Turn::Again,
            _ => Turn::New,
        }
    }

    /// Whether that kill, which the assembler tells once more, was counted.
    pub(super) fn is_counted(&mut self, kill: KillId) -> bool {
        self.counted.remove(&kill)
    }
}

/// Whether the kill's record is to be read again.
pub(super) fn is_unsettled(kill: &Counted, rings: &[RingState]) -> bool {
    rings
        .iter()
        .any(|ring| ring.id == kill.ring && kill.read > ring.settled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Remembered,
        labels::{Limit, Role, Scope},
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

    #[test]
    fn a_record_is_past_then_read_again_then_new() {
        let ring = RingState {
            id: 7,
            settled: 100,
            read: 300,
        };
        let again = Again::new(vec![ring], &[]);
        for (ring, read, turn) in [
            (7, 56, Turn::Past),
            (7, 100, Turn::Past),
            (7, 200, Turn::Again),
            (7, 300, Turn::Again),
            (7, 356, Turn::New),
            // Another ring begins at 0.
            (8, 56, Turn::New),
        ] {
            assert_eq!(again.turn(ring, read), turn, "{ring} {read}");
        }
    }

    #[test]
    fn a_kill_of_the_event_under_way_is_told_again_and_not_counted() {
        let ring = RingState {
            id: 7,
            settled: 100,
            read: 300,
        };
        let kills = [counted(1, 7, 100), counted(2, 7, 200), counted(3, 6, 200)];
        let mut again = Again::new(vec![ring], &kills);
        let key = |tgid| KillId {
            tgid,
            start_time_ns: 1,
        };
        assert!(!again.is_counted(key(1)), "its record is past");
        assert!(again.is_counted(key(2)));
        assert!(!again.is_counted(key(2)), "once");
        assert!(!again.is_counted(key(3)), "of a ring that is gone");
    }
}
