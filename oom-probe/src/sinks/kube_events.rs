//! Kubernetes Events: what `kubectl describe pod` shows of an OOM event.
//!
//! `OOMKilled` for a container that died, `ProcessOOMKilled` for one that survived: those that
//! nothing else in the cluster shows, to be had with one field selector. An Event tells of one OOM
//! event in one container and of no other; whatever the API server does, kills are captured and
//! counted on.

mod limit;
pub(crate) mod note;
pub(crate) mod object;
pub(crate) mod post;
mod state;
pub(crate) mod unreported;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use kube::Client;
use prometheus_client::metrics::counter::Counter;

use crate::{attribution::outcome::Settled, journal::window::StoredWindow, kube::pod::Pod};
use capture::{
    model::{kill::Record, labels::Outcome},
    sys::clock::Now,
};
use limit::{Limiter, Refused};
use object::Subject;
use post::Poster;
use unreported::Unreported;

/// `--events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One for each OOM event in a container
    #[default]
    All,
    /// Only where the container survived
    Survived,
    /// None
    None,
}

/// Older events are history: nobody is helped by learning of them one by one.
const OLDEST: SignedDuration = SignedDuration::from_hours(1);

/// Makes Events of OOM events, at a bounded rate, and posts them in the background.
#[derive(Debug)]
pub struct Events {
    mode: Mode,
    node: String,
    unreported: Unreported,
    limiter: Limiter,
    poster: Poster,
    dropped: Counter,
}

impl Events {
    /// Starts to post Events as the node of that name; `dropped` counts those that will not be
    /// posted. To be called on the runtime.
    pub fn start(client: Client, node: &str, mode: Mode, dropped: Counter) -> Self {
        Self {
            mode,
            node: node.to_owned(),
            unreported: Unreported::default(),
            limiter: Limiter::default(),
            poster: Poster::start(client, dropped.clone()),
            dropped,
        }
    }

    /// Takes a kill whose pod is known.
    pub fn on_kill(&mut self, record: &Record) {
        self.unreported.on_kill(record);
    }

    /// Takes an OOM event whose outcome is known; `pod` is the pod as it is known.
    pub fn on_settled(&mut self, settled: &Settled, pod: Option<&Pod>, now: &Now) {
        if is_wanted(self.mode, settled, now)
            && let Some(subject) = Subject::of(settled, pod)
        {
            self.unreported.add(settled.clone(), subject);
        }
    }

    /// Makes Events of the OOM events that are over; `under_way` is the id of the one that may
    /// still take more victims.
    pub fn report(&mut self, under_way: Option<&str>, now: &Now) {
        for event in self.unreported.over(under_way) {
            match self.limiter.admit(Arc::new(event), now.instant) {
                Ok(admitted) => self.post(&admitted),
                Err(Refused::Later) => {}
                Err(Refused::Dropped) => {
                    self.dropped.inc();
                }
            }
        }
    }

    /// Whether [`Events::report`] has something to do.
    #[must_use]
    pub fn has_unreported(&self) -> bool {
        !self.unreported.is_empty()
    }

    /// Posts what had to wait.
    pub fn tick(&mut self, now: Instant) {
        for admitted in self.limiter.tick(now) {
            self.post(&admitted);
        }
    }

    /// When [`Events::tick`] has something to do.
    pub fn next_tick(&self) -> Option<Instant> {
        self.limiter.next_tick()
    }

    /// The windows of all containers.
    #[must_use]
    pub fn export(&self, now: &Now) -> Vec<StoredWindow> {
        self.limiter.export(now)
    }

    /// The windows that have changed since the last time.
    pub fn take_changed(&mut self, now: &Now) -> Vec<StoredWindow> {
        self.limiter.take_changed(now)
    }

    /// Goes on with a window of before a restart; `identify` completes the kill of its event.
    pub fn restore(
        &mut self,
        window: StoredWindow,
        now: &Now,
        identify: impl FnOnce(&mut Settled),
    ) {
        self.limiter.restore(window, now, identify);
    }

    /// Posts what is queued, for that long.
    pub async fn finish(self, within: Duration) {
        self.poster.finish(within).await;
    }

    fn post(&mut self, admitted: &limit::Admitted) {
        let (settled, subject) = &*admitted.event;
        let note = note::note(settled, admitted.left_out);
        self.poster
            .post(object::event(settled, subject, &note, &self.node));
    }
}

fn is_wanted(mode: Mode, settled: &Settled, now: &Now) -> bool {
    let wanted = match mode {
        Mode::All => true,
        Mode::Survived => settled.outcome == Outcome::Survived,
        Mode::None => false,
    };
    wanted && now.realtime.duration_since(settled.kill.kill.time) < OLDEST
}

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_made_of_what_was_asked_for_and_is_news() {
        let minutes = SignedDuration::from_mins;
        for (mode, outcome, age, expected) in [
            (Mode::All, Outcome::Died, minutes(0), true),
            (Mode::All, Outcome::Survived, minutes(0), true),
            (Mode::Survived, Outcome::Died, minutes(0), false),
            (Mode::Survived, Outcome::Survived, minutes(0), true),
            (Mode::None, Outcome::Survived, minutes(0), false),
            (Mode::All, Outcome::Died, minutes(59), true),
            (Mode::All, Outcome::Died, minutes(60), false),
            // The clock was set back.
            (Mode::All, Outcome::Died, minutes(-5), true),
        ] {
            let settled = fixture::settled(outcome, 1, &json!({}));
            let now = Now {
                realtime: settled.kill.kill.time + age,
                ..Now::read()
            };
            let wanted = is_wanted(mode, &settled, &now);
            assert_eq!(wanted, expected, "{mode:?} {outcome} {age}");
        }
    }
}
