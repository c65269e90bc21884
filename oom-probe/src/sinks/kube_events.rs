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
pub mod state;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use prometheus_client::metrics::counter::Counter;

use crate::{attribution::outcome::Settled, kube::pod::Pod, model::labels::Outcome};
use limit::{Limiter, Refused};
use object::Subject;
use post::Poster;
use state::{Moment, StoredWindow};

/// `--events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
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
            limiter: Limiter::default(),
            poster: Poster::start(client, dropped.clone()),
            dropped,
        }
    }

    /// Takes an OOM event; `pod` is the pod as it is known.
    pub fn on_settled(
        &mut self,
        settled: &Settled,
        pod: Option<&Pod>,
        now: Instant,
        wall: Timestamp,
    ) {
        if !is_wanted(self.mode, settled, wall) {
            return;
        }
        let Some(subject) = Subject::of(settled, pod) else {
            return;
        };
        let event = Arc::new((settled.clone(), subject));
        match self.limiter.admit(event, now) {
            Ok(admitted) => self.post(&admitted),
            Err(Refused::Later) => {}
            Err(Refused::Dropped) => {
                self.dropped.inc();
            }
        }
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
    pub fn export(&self, at: Moment) -> Vec<StoredWindow> {
        self.limiter.export(at)
    }

    /// The windows that have changed since the last time.
    pub fn take_changed(&mut self, at: Moment) -> Vec<StoredWindow> {
        self.limiter.take_changed(at)
    }

    /// Goes on with a window of before a restart; `identify` completes the kill of its event.
    pub fn restore(
        &mut self,
        window: StoredWindow,
        at: Moment,
        identify: impl FnOnce(&mut Settled),
    ) {
        self.limiter.restore(window, at, identify);
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

fn is_wanted(mode: Mode, settled: &Settled, wall: Timestamp) -> bool {
    let wanted = match mode {
        Mode::All => true,
        Mode::Survived => settled.outcome == Outcome::Survived,
        Mode::None => false,
    };
    wanted && wall.duration_since(settled.kill.kill.time) < OLDEST
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
            let wall = settled.kill.kill.time + age;
            let wanted = is_wanted(mode, &settled, wall);
            assert_eq!(wanted, expected, "{mode:?} {outcome} {age}");
        }
    }
}
