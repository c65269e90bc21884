//! Kills of a time without a daemon, where no state says what had been counted before.
//!
//! Counters begin at 0 then, and Prometheus has not seen them there: `increase()` would not see a
//! step from nothing to 1. So the kills wait until a scrape has taken the zeros with it.

use std::time::{Duration, Instant};

use crate::event::Killed;

/// How long they wait for a scrape: longer than most intervals between two.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// More than any ring holds.
const MAX: usize = 8192;

/// The kills that wait.
#[derive(Debug, Default)]
pub(super) struct Deferral {
    /// Absent when kills are counted at once.
    until: Option<Instant>,
    kills: Vec<Killed>,
}

impl Deferral {
    /// From now on kills wait.
    pub(super) fn begin(&mut self, now: Instant) {
        self.until = Some(now + PATIENCE);
    }

    /// Gives the kill back if it is to be counted at once.
    pub(super) fn defer(&mut self, killed: Killed) -> Option<Killed> {
        if self.until.is_none() || self.kills.len() >= MAX {
            return Some(killed);
        }
        self.kills.push(killed);
        None
    }

    /// Takes the kills that have waited long enough.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Killed> {
        match self.until {
            Some(until) if until <= now => self.scraped(),
            _ => Vec::new(),
        }
    }

    /// Takes all: the zeros have been seen.
    pub(super) fn scraped(&mut self) -> Vec<Killed> {
        self.until = None;
        std::mem::take(&mut self.kills)
    }

    /// When [`Deferral::due`] has something to say.
    pub(super) fn next(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn kills(&self) -> impl Iterator<Item = &Killed> {
        self.kills.iter()
    }

    /// Forgets a kill that was counted.
    pub(super) fn remove(&mut self, tgid: u32, start_time_ns: u64) {
        self.kills.retain(|Killed { kill, .. }| {
            (kill.key.tgid, kill.key.start_time_ns) != (tgid, start_time_ns)
        });
    }
}
