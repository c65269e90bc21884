//! How many Events: a container that is killed every second is one message every five minutes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::object::Subject;
use crate::{attribution::outcome::Settled, journal::window::Container};

/// How long a container waits for its next Event.
pub(super) const WINDOW: Duration = Duration::from_secs(300);
/// Events that the whole node may send at once.
pub(super) const BURST: u32 = 20;
/// How long it takes until it may send one more.
pub(super) const REFILL: Duration = Duration::from_secs(6);
/// Containers whose windows are remembered; others wait until one is over.
pub(super) const MAX_WINDOWS: usize = 512;

/// An OOM event and what its Event is about.
pub(super) type Candidate = Arc<(Settled, Subject)>;

/// An Event that may be sent.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) event: Candidate,
    /// OOM events of the same container that got none since the last.
    pub(super) left_out: u32,
}

/// Why an event gets no Event now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It gets one when the window is over, or counts in that of another.
    Later,
    /// It gets none: too many containers wait.
    Dropped,
}

/// The windows of the containers and the bucket of the node.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    pub(super) windows: HashMap<Container, Window>,
    pub(super) bucket: Bucket,
    /// Whose windows the state does not have as they are.
    pub(super) changed: HashSet<Container>,
}

#[derive(Debug)]
pub(super) struct Window {
    pub(super) ends: Instant,
    /// The last event of the window, which is sent when it ends.
    pub(super) last: Option<Candidate>,
    /// Those before it.
    pub(super) left_out: u32,
}

impl Limiter {
    /// The event at once, if it is the first of its container for a while.
    pub(super) fn admit(&mut self, event: Candidate, now: Instant) -> Result<Admitted, Refused> {
        let container = Container::of(&event.1);
        if let Some(window) = self.windows.get_mut(&container) {
            if window.ends > now || window.last.is_some() {
                window.left_out += u32::from(window.last.is_some());
                window.last = Some(event);
                self.changed.insert(container);
                return Err(Refused::Later);
            }
        } else if self.windows.len() >= MAX_WINDOWS {
            return Err(Refused::Dropped);
        }
        let admitted = self.bucket.take(now);
        let window = Window {
            ends: now + if admitted { WINDOW } else { Duration::ZERO },
            last: (!admitted).then(|| event.clone()),
            left_out: 0,
        };
        self.changed.insert(container.clone());
        self.windows.insert(container, window);
        if admitted {
            Ok(Admitted { event, left_out: 0 })
        } else {
            Err(Refused::Later)
        }
    }

    /// The events whose windows are over, as far as the bucket allows.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Admitted> {
        let mut admitted = Vec::new();
        self.windows
            .retain(|_, window| window.ends > now || window.last.is_some());
        let mut over: Vec<_> = self
            .windows
            .iter_mut()
            .filter(|(_, window)| window.ends <= now)
            .collect();
        over.sort_by_key(|(_, window)| window.ends);
        for (container, window) in over {
            if window.last.is_none() || !self.bucket.take(now) {
                continue;
            }
            if let Some(event) = window.last.take() {
                let left_out = std::mem::take(&mut window.left_out);
                admitted.push(Admitted { event, left_out });
                window.ends = now + WINDOW;
                self.changed.insert(container.clone());
            }
        }
        admitted
    }

    /// When the next window is over and the bucket allows its event.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let ends = self.windows.values().map(|window| window.ends).min()?;
        Some(ends.max(self.bucket.next().unwrap_or(ends)))
    }
}

impl Container {
    fn of(subject: &Subject) -> Self {
        Self {
            pod: subject.uid.clone(),
            field_path: subject.field_path.clone(),
        }
    }
}

/// Holds at most [`BURST`], one more every [`REFILL`].
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When it will be full again; its content is what is missing until then.
    pub(super) full_at: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        if self.next().is_some_and(|next| next > now) {
            return false;
        }
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        self.full_at = Some(full_at + REFILL);
        true
    }

    /// When there is something in it; before the first is taken: always.
    fn next(&self) -> Option<Instant> {
        self.full_at?.checked_sub(REFILL * (BURST - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::kube_events::fixture::candidate;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        Instant::now() + Duration::from_secs(86_400)
    }

    #[test]
    fn the_first_of_a_container_goes_at_once_and_the_next_when_its_window_is_over() {
        let (mut limiter, now) = (Limiter::default(), start());
        assert_eq!(
            limiter.admit(candidate("cart", 1), now).unwrap().left_out,
            0
        );
        for n in 2..=5 {
            assert!(
                limiter
                    .admit(candidate("cart", n), now + SECOND * n)
                    .is_err()
            );
        }
        assert_eq!(limiter.next_tick(), Some(now + WINDOW));
        assert!(limiter.tick(now + WINDOW - SECOND).is_empty());
        let admitted = limiter.tick(now + WINDOW);
        assert_eq!(admitted.len(), 1);
        assert_eq!(
            admitted[0].event.0.kill.kill.victim.pid, 5,
            "the last of them"
        );
        assert_eq!(admitted[0].left_out, 3);
        // That one opened the next window.
        assert!(
            limiter
                .admit(candidate("cart", 6), now + WINDOW + SECOND)
                .is_err()
        );
        assert_eq!(limiter.tick(now + WINDOW * 2).len(), 1);
        assert!(limiter.tick(now + WINDOW * 3).is_empty());
        assert_eq!(limiter.next_tick(), None);
        assert!(
            limiter
                .admit(candidate("cart", 7), now + WINDOW * 3)
                .is_ok()
        );
    }

    #[test]
    fn containers_do_not_wait_for_each_other() {
        let (mut limiter, now) = (Limiter::default(), start());
        for container in ["cart", "proxy", "db"] {
            assert!(
                limiter.admit(candidate(container, 1), now).is_ok(),
                "{container}"
            );
            assert!(
                limiter.admit(candidate(container, 2), now).is_err(),
                "{container}"
            );
        }
    }

    #[test]
    fn a_pod_that_comes_back_under_its_name_does_not_wait_for_the_one_before() {
        let (mut limiter, now) = (Limiter::default(), start());
        assert!(limiter.admit(candidate("cart", 1), now).is_ok());
        let mut back = candidate("cart", 2);
        let (_, subject) = Arc::get_mut(&mut back).unwrap();
        subject.uid = "another".to_owned();
        assert!(limiter.admit(back, now).is_ok());
        assert!(limiter.admit(candidate("cart", 3), now).is_err());
    }

    #[test]
    fn a_node_sends_a_bounded_number_and_the_rest_in_its_time() {
        let (mut limiter, now) = (Limiter::default(), start());
        let sent = (0..100)
            .filter(|n| limiter.admit(candidate(&format!("c{n}"), 1), now).is_ok())
            .count();
        assert_eq!(sent, BURST as usize);
        assert_eq!(limiter.next_tick(), Some(now + REFILL));
        assert_eq!(limiter.tick(now + REFILL).len(), 1);
        let mut later = 0;
        for seconds in 7..=WINDOW.as_secs() {
            later += limiter
                .tick(now + SECOND * u32::try_from(seconds).unwrap())
                .len();
        }
        assert_eq!(later, 49, "one each 6 s");
    }

    #[test]
    fn the_bucket_fills_again() {
        let (mut bucket, now) = (Bucket::default(), start());
        let taken = |bucket: &mut Bucket, at| (0..1000).take_while(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, now), 20);
        assert_eq!(taken(&mut bucket, now + REFILL / 2), 0);
        assert_eq!(taken(&mut bucket, now + REFILL * 3), 3);
        assert_eq!(taken(&mut bucket, now + REFILL * 1000), 20);
    }

    #[test]
    fn a_storm_in_many_containers_holds_a_bounded_number() {
        let (mut limiter, now) = (Limiter::default(), start());
        let dropped = (0..2000)
            .map(|n| limiter.admit(candidate(&format!("c{n}"), 1), now))
            .filter(|admitted| matches!(admitted, Err(Refused::Dropped)))
            .count();
        assert_eq!(limiter.windows.len(), MAX_WINDOWS);
        assert_eq!(dropped, 2000 - MAX_WINDOWS, "each is counted");
    }
}
