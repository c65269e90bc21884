//! What was known before a restart: taken out for the journal, and put back.

use std::sync::Arc;
use std::time::Instant;

use super::Tracker;
use crate::{
    attribution::{
        change::Change,
        outcome::{Key, Outcomes, Unsettled},
    },
    kube::pod::Pod,
};
use capture::{
    model::{
        kill::{Kill, Record},
        labels::Outcome,
        pod::PodUid,
    },
    sys::clock::Now,
};

impl Tracker {
    /// The OOM events whose outcome is not known, and those whose was told a moment ago.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// The kills that wait for their pod, the oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &Kill> {
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
    pub fn restore_pod(&mut self, pod: Arc<Pod>) -> Option<Change> {
        self.attributor.restore_pod(Arc::clone(&pod), None);
        let is_known = self.attributor.index().by_uid(&pod.uid).is_some();
        is_known.then_some(Change::PodSeen { pod, is_news: true })
    }

    /// A pod that was there was deleted at that time.
    pub fn restore_gone(&mut self, uid: &PodUid, since: Instant) -> Option<Change> {
        let pod = self.attributor.restore_gone(uid, since);
        pod.map(Change::PodGone)
    }

    /// Goes on with a kill that waited for its pod.
    pub fn restore_pending(&mut self, kill: Kill, now: &Now) {
        self.attributor.restore_parked(kill, now.instant);
    }

    /// Goes on with an OOM event whose outcome was not known.
    pub fn restore_unsettled(&mut self, mut unsettled: Unsettled, now: &Now) {
        self.identify(&mut unsettled.kill.kill);
        self.outcomes.restore(unsettled, now.instant, now.realtime);
    }

    /// Recognises further victims of an OOM event whose outcome was told.
    pub fn restore_recent(&mut self, key: Key, now: &Now) {
        self.outcomes.restore_recent(key, now.instant);
    }

    /// Takes a record that was complete once more.
    pub fn replay(&mut self, mut record: Record, now: &Now) -> Vec<Change> {
        self.identify(&mut record.kill);
        self.attributor.unpark(&record.kill.id);
        let mut changes = Vec::new();
        self.complete(record, now, &mut changes);
        changes
    }

    /// Settles an OOM event as it had been settled.
    pub fn replay_settled(&mut self, key: &Key, outcome: Outcome, now: &Now) -> Option<Change> {
        let settled = self.outcomes.resolve(key, outcome, now.instant)?;
        Some(self.settle(settled, false))
    }

    /// The machine has been started anew since: no container lived through that.
    pub fn all_died(&mut self, now: &Now) -> Vec<Change> {
        let mut changes = Vec::new();
        let settled = self.outcomes.resolve_all(Outcome::Died, now.instant);
        self.settled(settled, &mut changes);
        changes
    }

    /// Reads whose cgroup it is from the levels below the node's own root.
    pub fn identify(&self, kill: &mut Kill) {
        self.attributor.identify(kill);
    }
}
