//! What was known before a restart: taken out for the state, and put back.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::Cluster;
use crate::{
    attribution::outcome::{Key, Outcomes, Settled, Unsettled},
    kube::pod::Pod,
    model::{
        kill::{Kill, Record},
        labels::Outcome,
        pod::PodUid,
    },
    sinks::{
        kube_events::state::{Moment, StoredWindow},
        metrics::containers::Containers,
    },
};

impl Cluster {
    /// The series of containers and workloads.
    #[must_use]
    pub fn containers(&self) -> &Containers {
        &self.containers
    }

    /// The OOM events whose outcome is not known, and those whose was told a moment ago.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// The kills that wait for their pod, the oldest first.
    pub fn parked(&self) -> impl Iterator<Item = &Kill> {
        self.attributor.parked()
    }

    /// The pods that are there.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.attributor.index().pods()
    }

    /// The pods that were deleted, and when, the oldest first.
    pub fn gone_pods(&self) -> impl Iterator<Item = (&Arc<Pod>, Instant)> {
        self.attributor.index().gone()
    }

    /// Takes up a pod that was there.
    pub fn restore_pod(&mut self, pod: &Arc<Pod>, now: Instant) {
        self.attributor.restore_pod(Arc::clone(pod), None);
        if self.attributor.index().by_uid(&pod.uid).is_some() {
            self.containers.apply(pod, now);
        }
    }

    /// A pod that was there was deleted at that time.
    pub fn restore_gone(&mut self, uid: &PodUid, since: Instant, now: Instant) {
        if let Some(pod) = self.attributor.restore_gone(uid, since) {
            self.containers.remove(&pod, now);
        }
    }

    /// Parks a kill that waited for its pod.
    pub fn restore_parked(&mut self, kill: Kill, now: Instant) {
        self.attributor.restore_parked(kill, now);
    }

    /// Goes on with an OOM event whose outcome was not known.
    pub fn restore_unsettled(&mut self, mut unsettled: Unsettled, now: Instant, wall: Timestamp) {
        self.attributor.identify(&mut unsettled.kill.kill);
        self.outcomes.restore(unsettled, now, wall);
    }

    /// Recognises further victims of an OOM event whose outcome was told.
    pub fn restore_recent(&mut self, key: Key, now: Instant) {
        self.outcomes.restore_recent(key, now);
    }

    /// Counts a record again that had been counted; its Event was told.
    pub fn replay(&mut self, mut record: Record, now: Instant, wall: Timestamp) {
        self.attributor.identify(&mut record.kill);
        self.attributor.unpark(&record.kill.id);
        self.containers.on_kill(&record, now);
        if let Some(settled) = self.outcomes.on_kill(&record, now, wall) {
            self.containers.on_settled(&settled, now);
        }
    }

    /// Settles an OOM event as it had been settled; its Event was told.
    pub fn replay_settled(&mut self, key: &Key, outcome: Outcome, now: Instant) {
        if let Some(settled) = self.outcomes.resolve(key, outcome, now) {
            self.containers.on_settled(&settled, now);
        }
    }

    /// How long containers wait for their next Kubernetes Event: all of them.
    #[must_use]
    pub fn event_windows(&self, at: Moment) -> Vec<StoredWindow> {
        let events = self.events.as_ref();
        events.map(|events| events.export(at)).unwrap_or_default()
    }

    /// The same, of those for which it is new or has changed.
    pub fn take_event_windows(&mut self, at: Moment) -> Vec<StoredWindow> {
        let events = self.events.as_mut();
        events
            .map(|events| events.take_changed(at))
            .unwrap_or_default()
    }

    /// A container waits for its next Kubernetes Event.
    pub fn restore_event_window(&mut self, window: StoredWindow, at: Moment) {
        if let Some(events) = &mut self.events {
            let attributor = &self.attributor;
            events.restore(window, at, |settled| {
                attributor.identify(&mut settled.kill.kill);
            });
        }
    }

    /// The machine has been started anew since: no container lived through that.
    pub fn all_died(&mut self, now: Instant) {
        let settled: Vec<Settled> = self.outcomes.resolve_all(Outcome::Died, now);
        self.settle_all(settled, now);
    }
}
