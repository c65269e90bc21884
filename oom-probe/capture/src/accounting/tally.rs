//! What all daemons together have made of the records since the ledger was set up: that is what
//! the kernel's own count since then is to be held against.

use super::checkpoint::Checkpoint;
use crate::assemble::Counts;

/// The counts of this daemon and of those before it.
#[derive(Debug, Default)]
pub struct Books {
    /// What earlier daemons made of the records before those of this one.
    earlier: Checkpoint,
    /// Of this daemon's counts what happened before the ledger was set up: not in its baseline.
    before: Counts,
    /// Marks in records of another version: they may have been kills.
    unreadable: u64,
    /// When nothing that was read was needed any more.
    settled: Counts,
    settled_unreadable: u64,
}

impl Books {
    /// Goes on from what an earlier daemon left.
    #[must_use]
    pub fn new(earlier: Checkpoint) -> Self {
        Self {
            earlier,
            ..Self::default()
        }
    }

    /// What was made of all that is settled.
    fn settled(&self) -> Counts {
        self.sum(self.settled.plus(self.before), self.settled_unreadable)
    }

    /// This much of the counts happened before the ledger was set up.
    pub fn happened_before(&mut self, growth: Counts) {
        self.before = self.before.plus(growth);
    }

    /// A mark that cannot be read, of programs whose counts the ledger has.
    pub fn unreadable_mark(&mut self) {
        self.unreadable += 1;
    }

    /// What vmstat is to be held against.
    #[must_use]
    pub fn total(&self, counts: Counts) -> Counts {
        self.sum(counts, self.unreadable)
    }

    /// Nothing that was read so far is needed any more.
    pub fn settle(&mut self, counts: Counts) {
        self.settled = counts.minus(self.before);
        self.settled_unreadable = self.unreadable;
    }

    /// What the next daemon is to know once the ring is released up to that position.
    pub fn checkpoint(&mut self, position: u64, lapses: Lapses) -> Checkpoint {
        self.earlier.number += 1;
        let counts = self.settled();
        let Lapses {
            dropped_marks,
            dropped_signals,
            misses,
        } = lapses;
        Checkpoint {
            number: self.earlier.number,
            position,
            marked_kills: counts.marked_kills,
            doubtful: counts.doubtful,
            repeats: counts.repeats,
            dropped_marks,
            dropped_signals,
            misses,
        }
    }

    fn sum(&self, counts: Counts, unreadable: u64) -> Counts {
        let unreadable = Counts {
            marked_kills: unreadable,
            doubtful: unreadable,
            ..Counts::default()
        };
        let own = counts.minus(self.before);
        self.earlier.counts().plus(own).plus(unreadable)
    }
}

/// What the programs could not record, as far as it was dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lapses {
    /// Marks that were counted as kills without a record.
    pub dropped_marks: u64,
    /// Signals.
    pub dropped_signals: u64,
    /// Runs of the signal hook.
    pub misses: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kills(marked_kills: u64, repeats: u64) -> Counts {
        Counts {
            marked_kills,
            repeats,
            ..Counts::default()
        }
    }

    #[test]
    fn each_daemon_adds_to_what_those_before_it_counted() {
        let mut first = Books::default();
        first.settle(kills(3, 1));
        let left = first.checkpoint(100, Lapses::default());
        assert_eq!((left.number, left.position), (1, 100));
        let mut second = Books::new(left);
        assert_eq!(second.total(kills(2, 0)), kills(5, 1));
        second.settle(kills(2, 0));
        let left = second.checkpoint(200, Lapses::default());
        assert_eq!((left.number, left.counts()), (2, kills(5, 1)));
    }

    #[test]
    fn what_is_not_settled_is_counted_again_by_the_next() {
        let mut books = Books::default();
        books.settle(kills(3, 0));
        assert_eq!(books.total(kills(5, 0)), kills(5, 0));
        assert_eq!(books.checkpoint(0, Lapses::default()).marked_kills, 3);
    }

    #[test]
    fn what_happened_before_the_baseline_is_not_held_against_vmstat() {
        let mut books = Books::default();
        books.happened_before(kills(2, 1));
        assert_eq!(books.total(kills(6, 1)), kills(4, 0));
        books.settle(kills(6, 1));
        assert_eq!(books.checkpoint(0, Lapses::default()).counts(), kills(4, 0));
    }

    #[test]
    fn what_cannot_be_read_may_have_been_a_kill() {
        let mut books = Books::default();
        books.unreadable_mark();
        let Counts {
            marked_kills,
            doubtful,
            ..
        } = books.total(kills(1, 0));
        assert_eq!((marked_kills, doubtful), (2, 1));
    }
}
