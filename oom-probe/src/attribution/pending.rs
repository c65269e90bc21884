//! Kills whose container no status has named yet, and how long each may wait.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::kube::pod::Pod;
use capture::model::kill::Kill;

/// How long a kill waits for the status that names its container, while the API server answers.
/// Longer than it takes to notice that a watch is dead and to open another.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How long it waits at least after the pods are known again.
const AFTER_SYNC: Duration = Duration::from_secs(15);
/// How long it waits for an API server that does not answer.
pub const AT_MOST: Duration = Duration::from_secs(30 * 60);
/// A storm in pods that nobody knows holds no more memory than this many kills; each takes 1 KB.
pub const MAX_PARKED: usize = 1024;

/// The kills that wait, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    kills: VecDeque<Parked>,
    /// The API server answers, so that what is not known by a kill's time will never be.
    synced: bool,
}

#[derive(Debug)]
struct Parked {
    kill: Box<Kill>,
    since: Instant,
    due: Instant,
}

impl Parking {
    /// Returns the oldest if there is no room.
    pub(crate) fn park(&mut self, kill: Box<Kill>, now: Instant) -> Option<Box<Kill>> {
        self.kills.push_back(Parked {
            kill,
            since: now,
            due: now + PATIENCE,
        });
        if self.kills.len() > MAX_PARKED {
            return self.kills.pop_front().map(|parked| parked.kill);
        }
        None
    }

    pub(crate) fn set_synced(&mut self, synced: bool, now: Instant) {
        if synced && !self.synced {
            for parked in &mut self.kills {
                parked.due = parked.due.max(now + AFTER_SYNC);
            }
        }
        self.synced = synced;
    }

    /// Asks again for the kills that `pod` may explain; those that `answer` gives back wait on.
    pub(crate) fn ask_again<R>(
        &mut self,
        pod: &Pod,
        mut answer: impl FnMut(Box<Kill>) -> Result<R, Box<Kill>>,
    ) -> Vec<R> {
        let mut answered = Vec::new();
        if !self.kills.iter().any(|parked| concerns(pod, &parked.kill)) {
            return answered;
        }
        for mut parked in std::mem::take(&mut self.kills) {
            if concerns(pod, &parked.kill) {
                match answer(parked.kill) {
                    Ok(answer) => {
                        answered.push(answer);
                        continue;
                    }
                    Err(kill) => parked.kill = kill,
                }
            }
            self.kills.push_back(parked);
        }
        answered
    }

    /// Takes the kills whose time is over.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Kill> {
        if self.next_due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        let synced = self.synced;
        let (due, waiting): (VecDeque<_>, VecDeque<_>) = self
            .kills
            .drain(..)
            .partition(|parked| parked.end(synced) <= now);
        self.kills = waiting;
        due.into_iter().map(|parked| *parked.kill).collect()
    }

    /// Forgets the kill of that id.
    pub(crate) fn remove(&mut self, id: &str) {
        self.kills.retain(|parked| parked.kill.id != id);
    }

    /// Takes all kills.
    pub(crate) fn take_all(&mut self) -> Vec<Kill> {
        let all = std::mem::take(&mut self.kills);
        all.into_iter().map(|parked| *parked.kill).collect()
    }

    /// When the next kill is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.kills
            .iter()
            .map(|parked| parked.end(self.synced))
            .min()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kill> {
        self.kills.iter().map(|parked| &*parked.kill)
    }
}

impl Parked {
    fn end(&self, synced: bool) -> Instant {
        let last = self.since + AT_MOST;
        if synced { self.due.min(last) } else { last }
    }
}

fn concerns(pod: &Pod, kill: &Kill) -> bool {
    let identity = &kill.identity;
    let by_uid = identity
        .pod
        .is_some_and(|uid| uid == pod.uid || Some(uid) == pod.config_hash);
    by_uid
        || identity
            .container
            .is_some_and(|id| pod.container_of_run(&id).is_some())
}
