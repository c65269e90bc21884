//! The windows of containers over a restart: whoever had its Event a moment ago waits for the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::limit::{BURST, Bucket, Candidate, Limiter, MAX_WINDOWS, REFILL, WINDOW, Window};
use crate::{
    attribution::outcome::Settled,
    journal::{
        whole::Hidden,
        window::{Container, StoredEvent, StoredWindow},
    },
};
use capture::sys::clock::Now;

impl Limiter {
    /// All windows.
    pub(super) fn export(&self, now: &Now) -> Vec<StoredWindow> {
        let windows = self.windows.iter();
        windows
            .map(|(container, window)| self.stored(container, window, now))
            .collect()
    }

    /// The windows that are new or have changed since the last time.
    pub(super) fn take_changed(&mut self, now: &Now) -> Vec<StoredWindow> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .iter()
            .filter_map(|container| {
                let window = self.windows.get(container)?;
                Some(self.stored(container, window, now))
            })
            .collect()
    }

    /// Goes on with a window of before a restart; `identify` completes the kill of its event.
    pub(super) fn restore(
        &mut self,
        stored: StoredWindow,
        now: &Now,
        identify: impl FnOnce(&mut Settled),
    ) {
        let StoredWindow {
            container,
            ends,
            left_out,
            last,
            bucket_full_at,
        } = stored;
        if self.windows.len() >= MAX_WINDOWS && !self.windows.contains_key(&container) {
            return;
        }
        // No longer than from now on: the clock may have been set back.
        let ends = now.instant + until(ends, now).min(WINDOW);
        let last = last.map(|event| event.restore(identify));
        let window = Window {
            ends,
            last,
            left_out,
        };
        self.windows.insert(container, window);
        let most = REFILL * BURST;
        self.bucket = Bucket {
            full_at: bucket_full_at.map(|full_at| now.instant + until(full_at, now).min(most)),
        };
    }

    fn stored(&self, container: &Container, window: &Window, now: &Now) -> StoredWindow {
        StoredWindow {
            container: container.clone(),
            ends: wall_of(window.ends, now),
            left_out: window.left_out,
            last: window.last.as_ref().map(|event| Box::new(stored(event))),
            bucket_full_at: self.bucket.full_at.map(|full_at| wall_of(full_at, now)),
        }
    }
}

fn stored(event: &Candidate) -> StoredEvent {
    let (settled, subject) = &**event;
    StoredEvent {
        outcome: settled.outcome,
        kills: settled.kills,
        record: (*settled.kill).clone(),
        hidden: Hidden::of(&settled.kill.kill),
        subject: subject.clone(),
    }
}

impl StoredEvent {
    fn restore(self, identify: impl FnOnce(&mut Settled)) -> Candidate {
        let Self {
            outcome,
            kills,
            mut record,
            hidden,
            subject,
        } = self;
        hidden.restore(&mut record.kill);
        let mut settled = Settled {
            outcome,
            kill: Box::new(record),
            kills,
        };
        identify(&mut settled);
        Arc::new((settled, subject))
    }
}

fn until(time: Timestamp, now: &Now) -> Duration {
    Duration::try_from(time.duration_since(now.realtime)).unwrap_or_default()
}

fn wall_of(time: Instant, now: &Now) -> Timestamp {
    let left = time.saturating_duration_since(now.instant);
    let left = SignedDuration::try_from(left).unwrap_or(SignedDuration::MAX);
    now.realtime.saturating_add(left).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::kube_events::fixture::candidate;

    const SECOND: Duration = Duration::from_secs(1);

    /// A daemon that goes on `after` so long, from a snapshot or from what had changed.
    fn restarted(limiter: &mut Limiter, before: &Now, after: Duration, whole: bool) -> Limiter {
        let stored = if whole {
            limiter.export(before)
        } else {
            limiter.take_changed(before)
        };
        let json = serde_json::to_string(&stored).unwrap();
        let later = at(before, after);
        let mut limiter = Limiter::default();
        for window in serde_json::from_str::<Vec<StoredWindow>>(&json).unwrap() {
            limiter.restore(window, &later, |_| {});
        }
        limiter
    }

    fn at(before: &Now, after: Duration) -> Now {
        Now {
            instant: before.instant + after,
            realtime: before.realtime + after,
            ..*before
        }
    }

    #[test]
    fn a_window_goes_on_over_a_restart() {
        for whole in [true, false] {
            let begun = Now::read();
            let mut before = Limiter::default();
            for pid in 1..=3 {
                let _ = before.admit(candidate("cart", pid), begun.instant);
            }
            let mut limiter = restarted(&mut before, &begun, 10 * SECOND, whole);
            let now = begun.instant + 20 * SECOND;
            assert!(limiter.admit(candidate("cart", 4), now).is_err());
            let end = begun.instant + WINDOW;
            assert!(limiter.tick(end - SECOND).is_empty());
            let admitted = limiter.tick(end + SECOND);
            assert_eq!(admitted.len(), 1);
            assert_eq!(admitted[0].left_out, 2);
            assert_eq!(admitted[0].event.0.kill.kill.victim.pid, 4);
        }
    }

    #[test]
    fn what_waits_at_the_restart_is_sent_after_it() {
        let begun = Now::read();
        let mut before = Limiter::default();
        for pid in 1..=2 {
            let _ = before.admit(candidate("cart", pid), begun.instant);
        }
        let waiting = before.export(&begun)[0].last.clone();
        let mut limiter = restarted(&mut before, &begun, 10 * WINDOW, true);
        let admitted = limiter.tick(begun.instant + 10 * WINDOW);
        assert_eq!(admitted.len(), 1);
        // As it is kept: how the pod was found is not.
        let kept = |event: &StoredEvent| serde_json::to_value(event).unwrap();
        let sent = kept(&stored(&admitted[0].event));
        assert_eq!(Some(sent), waiting.as_deref().map(kept));
    }

    #[test]
    fn the_nodes_burst_is_spent_over_a_restart_and_a_clock_set_back_stops_nobody() {
        let begun = Now::read();
        let mut before = Limiter::default();
        for n in 0..100 {
            let _ = before.admit(candidate(&format!("c{n}"), 1), begun.instant);
        }
        let back = Now {
            realtime: begun.realtime - SignedDuration::from_hours(24),
            ..begun
        };
        // Who waited for the bucket alone waits a window where the clock says nothing.
        for (later, wait, expected) in [(begun, 10 * REFILL, 10), (back, WINDOW, BURST)] {
            let mut limiter = Limiter::default();
            for window in before.export(&begun) {
                limiter.restore(window, &later, |_| {});
            }
            assert!(limiter.admit(candidate("new", 1), later.instant).is_err());
            let sent = limiter.tick(later.instant + wait).len();
            assert_eq!(sent, expected as usize);
        }
    }

    #[test]
    fn what_did_not_change_is_not_told_again() {
        let begun = Now::read();
        let mut limiter = Limiter::default();
        let _ = limiter.admit(candidate("cart", 1), begun.instant);
        assert_eq!(limiter.take_changed(&begun).len(), 1);
        assert!(limiter.take_changed(&begun).is_empty());
        let _ = limiter.admit(candidate("cart", 2), begun.instant);
        assert_eq!(limiter.take_changed(&begun).len(), 1);
        limiter.tick(begun.instant + WINDOW);
        assert_eq!(limiter.take_changed(&begun).len(), 1);
    }
}
