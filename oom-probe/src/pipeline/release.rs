//! Releasing: the kernel writes over a record once the next daemon can do without it.
//!
//! That is so when nothing depends on the record that is yet to be read, and when the journal has
//! what followed from it. One release is on its way at a time; what is settled meanwhile goes with
//! the next.

use std::time::{Duration, Instant};

use super::Pipeline;
use crate::{
    capture::accounting::{checkpoint::Checkpoint, tally::Lapses},
    journal::State,
};

/// The part of the ring, one in so many, that may wait for a disk that takes nothing.
const MOST_UNWRITTEN: usize = 2;
/// When a disk takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A release that waits for the journal.
#[derive(Debug)]
pub(super) struct Release {
    /// Number of the last that was handed to the journal before.
    handed: u64,
    /// What the next daemon is to know of the records before.
    checkpoint: Checkpoint,
    since: Instant,
}

impl Pipeline {
    /// Nothing that follows depends on what was read so far. A release that is on its way has its
    /// own end.
    pub(super) fn settle(&mut self) {
        if self.releasing.is_none() {
            self.records.settle();
            self.books.settle(self.assembler.counts());
        }
    }

    /// Lets the kernel write over everything up to the last [`Pipeline::settle`], as soon as the
    /// journal has it, and leaves word for the next daemon where to go on. To be called after what
    /// followed from it was committed.
    pub(super) fn release(&mut self, now: Instant) {
        if self.releasing.is_none() && self.records.has_settled() {
            self.releasing = Some(Release {
                handed: self.state.as_ref().map_or(0, State::handed),
                checkpoint: self.checkpoint(),
                since: now,
            });
        }
        let Some(release) = self.releasing.take() else {
            return;
        };
        if self.has(&release) || self.is_crowded(&release, now) {
            self.ledger.set_checkpoint(&release.checkpoint);
            self.records.release();
        } else {
            self.releasing = Some(release);
        }
    }

    /// The journal has come further.
    pub(super) fn release_on(&mut self, now: Instant) {
        self.release(now);
        if self.releasing.is_none() && self.assembler.is_settled(self.read_until_ns) {
            self.settle();
            self.release(now);
        }
    }

    fn has(&self, release: &Release) -> bool {
        let written = self.state.as_ref().map(|state| *state.written().borrow());
        written.is_none_or(|written| written >= release.handed)
    }

    /// Whether new kills need the room, and the disk does nothing to make some.
    fn is_crowded(&self, release: &Release, now: Instant) -> bool {
        let ring = self.records.live();
        let waits = now.saturating_duration_since(release.since);
        ring.kept() > ring.size() / MOST_UNWRITTEN && waits >= PATIENCE
    }

    fn checkpoint(&mut self) -> Checkpoint {
        let (misses, dropped_signals) = self.witness.lapses();
        let lapses = Lapses {
            dropped_marks: self.dropped_marks,
            dropped_signals,
            misses,
        };
        self.books.checkpoint(self.records.settled(), lapses)
    }
}
