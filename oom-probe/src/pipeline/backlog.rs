//! Kills that are counted while their records are still in the rings: the next daemon will see
//! them again.
//!
//! The kernel writes over a record once the next daemon can do without it. That is so when nothing
//! depends on the record that is yet to be read, and when the journal has what followed from it. One
//! release is on its way at a time; what is settled meanwhile goes with the next.

use std::time::{Duration, Instant};

use crate::journal::entry::Counted;
use capture::{assemble::Remembered, ring::RingState, sys::clock::Now};

/// The part of the ring that may wait for a disk that takes nothing.
const MOST_UNWRITTEN: f64 = 0.5;
/// When a disk takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// The kills, and the release that waits for the journal.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    counted: Vec<Counted>,
    release: Option<Release>,
}

#[derive(Debug)]
struct Release {
    /// Number of the last that was handed to the journal before.
    handed: u64,
    since: Instant,
}

impl Backlog {
    /// Those that an earlier daemon had counted.
    pub(super) fn restore(&mut self, counted: Vec<Counted>) {
        self.counted = counted;
    }

    pub(super) fn add(&mut self, counted: Counted) {
        self.counted.push(counted);
    }

    pub(super) fn kills(&self) -> &[Counted] {
        &self.counted
    }

    /// Whether a process was killed, or seen to die, by a record that is to be read again.
    pub(super) fn has(&self, process: &Remembered, rings: &[RingState]) -> bool {
        self.counted.iter().any(|kill| {
            kill.position().is_in(rings)
                && kill.process.tgid == process.tgid
                && (process.role.is_none() || kill.process.start_time_ns == process.start_time_ns)
        })
    }

    /// Forgets the kills whose records the rings have released.
    pub(super) fn forget_released(&mut self, rings: impl Iterator<Item = RingState>) {
        if !self.counted.is_empty() {
            let rings: Vec<_> = rings.collect();
            self.counted.retain(|kill| kill.position().is_in(&rings));
        }
    }

    /// Everything up to `handed` has to be in the journal.
    pub(super) fn begin_release(&mut self, handed: u64, now: &Now) {
        self.release = Some(Release {
            handed,
            since: now.instant,
        });
    }

    /// Whether a release is on its way that can end: the journal has it, or new kills need the room
    /// and the disk does nothing to make some. `kept` is the part of the ring that was read and not
    /// released.
    pub(super) fn ends_release(
        &mut self,
        has_written: impl FnOnce(u64) -> bool,
        kept: f64,
        now: &Now,
    ) -> bool {
        let Some(Release { handed, since }) = self.release else {
            return false;
        };
        let waits = now.instant.saturating_duration_since(since);
        let is_crowded = kept > MOST_UNWRITTEN && waits >= PATIENCE;
        let ends = has_written(handed) || is_crowded;
        if ends {
            self.release = None;
        }
        ends
    }

    pub(super) fn is_releasing(&self) -> bool {
        self.release.is_some()
    }
}
