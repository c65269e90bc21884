//! Kills of a time without a daemon, where no state says what had been counted before.
//!
//! Counters begin at 0 then, and Prometheus has not seen them there: `increase()` would not see a
//! step from nothing to 1. So the kills wait until a scrape has taken the zeros with it.

use std::time::{Duration, Instant};

use capture::assemble::{Killed, Remembered};

/// How long they wait for a scrape: longer than most intervals between two.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// More than any ring holds.
const MAX: usize = 8192;

/// The kills that wait.
#[derive(Debug, Default)]
pub(crate) struct FirstScrape {
    /// Absent when kills are counted at once.
    until: Option<Instant>,
    kills: Vec<Killed>,
}

impl FirstScrape {
    /// From now on kills wait.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.until = Some(now + PATIENCE);
    }

    /// Keeps the kill; or gives it back if it is to be counted at once.
    pub(crate) fn defer(&mut self, killed: Killed) -> Result<&Killed, Box<Killed>> {
        if self.until.is_none() || self.kills.len() >= MAX {
            return Err(Box::new(killed));
        }
        self.kills.push(killed);
        Ok(&self.kills[self.kills.len() - 1])
    }

    /// Takes the kills that have waited long enough.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Killed> {
        match self.until {
            Some(until) if until <= now => self.scraped(),
            _ => Vec::new(),
        }
    }

    /// Takes all: the zeros have been seen.
    pub(crate) fn scraped(&mut self) -> Vec<Killed> {
        self.until = None;
        std::mem::take(&mut self.kills)
    }

    /// When [`FirstScrape::due`] has something to say.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.until
    }

    pub(crate) fn kills(&self) -> impl Iterator<Item = &Killed> {
        self.kills.iter()
    }

    /// Forgets a kill that was counted.
    pub(crate) fn remove(&mut self, process: &Remembered) {
        self.kills
            .retain(|Killed { kill, .. }| kill.key != process.kill_id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::fixture::pod_child;

    fn killed(tgid: u32) -> Killed {
        let mut kill = pod_child().kill;
        kill.key.tgid = tgid;
        Killed {
            kill,
            opens_event: true,
        }
    }

    fn pids(kills: &[Killed]) -> Vec<u32> {
        kills.iter().map(|killed| killed.kill.key.tgid).collect()
    }

    #[test]
    fn kills_wait_for_a_scrape_or_for_90_seconds_and_later_ones_do_not() {
        let began = Instant::now();
        let waiting = || {
            let mut deferral = FirstScrape::default();
            assert!(deferral.defer(killed(1)).is_err(), "nothing to wait for");
            deferral.begin(began);
            assert!(deferral.defer(killed(2)).is_ok());
            assert!(deferral.defer(killed(3)).is_ok());
            deferral
        };
        let end = began + Duration::from_secs(90);
        let mut scraped = waiting();
        assert!(scraped.due(end - Duration::from_millis(1)).is_empty());
        assert_eq!(scraped.next(), Some(end));
        assert_eq!(pids(&scraped.scraped()), [2, 3]);
        assert!(scraped.defer(killed(4)).is_err());
        let mut never_scraped = waiting();
        assert_eq!(pids(&never_scraped.due(end)), [2, 3]);
        assert_eq!(never_scraped.next(), None);
        assert!(never_scraped.defer(killed(4)).is_err());
    }

    #[test]
    fn no_more_wait_than_a_ring_holds_and_none_that_was_counted() {
        let mut deferral = FirstScrape::default();
        deferral.begin(Instant::now());
        let kept = (0..=MAX as u32).filter(|n| deferral.defer(killed(*n)).is_ok());
        assert_eq!(kept.count(), MAX);
        let counted = Remembered::of(&killed(0).kill);
        deferral.remove(&counted);
        deferral.remove(&Remembered {
            start_time_ns: counted.start_time_ns + 1,
            ..Remembered::of(&killed(1).kill)
        });
        assert_eq!(deferral.kills().count(), MAX - 1);
    }
}
