//! Kills and pods of this node, held against each other: whose each kill is, and what became of
//! the container.
//!
//! Fed by the daemon's one loop, and time with it. Without a cluster kills go the same way and are
//! named by their cgroup paths alone.

mod restore;

use std::sync::Arc;
use std::time::Instant;

use super::{
    attributor::{Attributor, Decision, PodUpdate},
    change::Change,
    outcome::{ContainerAt, Outcomes, Settled, Signs},
};
use crate::{
    cgroup::population::{Population, Populations},
    kube::{
        PodEvent,
        index::{Found, Index},
        pod::Pod,
    },
    model::{
        cgroup_path::names as names_of,
        kill::{Kill, Record},
        labels::Scope,
    },
    sys::clock::Now,
};

/// Holds kills and pods against each other.
pub struct Tracker {
    attributor: Attributor,
    outcomes: Outcomes,
    populations: Option<Populations>,
    /// The pods of this node have been listed.
    listed: bool,
}

impl Tracker {
    /// Without any pod. `populations` is where the node's cgroups are, to see whether a container
    /// lives on.
    #[must_use]
    pub fn new(attributor: Attributor, populations: Option<Populations>) -> Self {
        Self {
            attributor,
            outcomes: Outcomes::default(),
            populations,
            listed: false,
        }
    }

    /// Takes a kill; returns whose it is at least, and what is known by it.
    pub fn on_kill(&mut self, mut kill: Kill, now: &Now) -> (Scope, Vec<Change>) {
        self.attributor.identify(&mut kill);
        self.confirm(&kill);
        let mut changes = Vec::new();
        let scope = match self.attributor.on_kill(kill, now.instant) {
            Decision::Record(record) => {
                let scope = record.scope;
                self.complete(*record, now, &mut changes);
                scope
            }
            Decision::Parked {
                scope,
                kill,
                displaced,
            } => {
                changes.push(Change::Pending(kill));
                if let Some(record) = displaced {
                    self.complete(*record, now, &mut changes);
                }
                scope
            }
            Decision::OtherNode(_) => Scope::OtherNode,
        };
        (scope, changes)
    }

    /// After a restart, before the pods are listed: a container in which something runs is there,
    /// and so is its pod.
    fn confirm(&mut self, kill: &Kill) {
        let Some(uid) = self.attributor.unconfirmed(kill) else {
            return;
        };
        let signs = self.look(ContainerAt::of(kill));
        if signs.population == Some(Population::Populated) {
            self.attributor.confirm(&uid);
        }
    }

    /// Takes what the watch tells.
    pub fn on_pods(&mut self, event: PodEvent, now: &Now) -> Vec<Change> {
        self.listed |= matches!(event, PodEvent::Synced { listed: true });
        let PodUpdate {
            applied,
            changed: is_news,
            gone,
            records,
            refused,
        } = self.attributor.on_pods(event, now.instant);
        if let Some(refused) = refused {
            tracing::warn!("a pod is left out: {refused}");
        }
        let mut changes = Vec::new();
        if let Some(pod) = applied {
            let seen = Arc::clone(&pod);
            changes.push(Change::PodSeen { pod: seen, is_news });
            if is_news {
                self.on_status(&pod, now, &mut changes);
            }
        }
        // Before the pods go: a kill of a pod's last moment counts on its series.
        for record in records {
            self.complete(record, now, &mut changes);
        }
        changes.extend(gone.into_iter().map(Change::PodGone));
        changes
    }

    /// Does what is due.
    pub fn tick(&mut self, now: &Now) -> Vec<Change> {
        let mut changes = Vec::new();
        for record in self.attributor.tick(now.instant) {
            self.complete(record, now, &mut changes);
        }
        let (index, populations) = (self.attributor.index(), self.populations.as_ref());
        let look = |place: ContainerAt<'_>| look(place, index, populations);
        let settled = self.outcomes.tick(now.instant, look);
        self.settled(settled, &mut changes);
        changes
    }

    /// When [`Tracker::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let ticks = [self.attributor.next_tick(), self.outcomes.next_tick()];
        ticks.into_iter().flatten().min()
    }

    /// Concludes what waits, since no more will come: kills for their pod, events for their
    /// outcome.
    pub fn conclude(&mut self, now: &Now) -> Vec<Change> {
        let mut changes = Vec::new();
        for record in self.attributor.conclude() {
            self.complete(record, now, &mut changes);
        }
        let (index, populations) = (self.attributor.index(), self.populations.as_ref());
        let look = |place: ContainerAt<'_>| look(place, index, populations);
        let settled = self.outcomes.conclude(now.instant, look);
        self.settled(settled, &mut changes);
        changes
    }

    /// Whether every pod that will have series is known, as far as can be told.
    #[must_use]
    pub fn knows_pods(&self) -> bool {
        self.listed || !self.attributor.has_kubernetes()
    }

    fn complete(&mut self, record: Record, now: &Now, changes: &mut Vec<Change>) {
        let settled = self.outcomes.on_kill(&record, now.instant, now.realtime);
        changes.push(Change::Complete(Box::new(record)));
        changes.extend(settled.map(|settled| self.settle(settled, true)));
    }

    /// A status may tell how a container ended.
    fn on_status(&mut self, pod: &Pod, now: &Now, changes: &mut Vec<Change>) {
        let uid = pod.uid.to_string();
        let (index, populations) = (self.attributor.index(), self.populations.as_ref());
        let look = |place: ContainerAt<'_>| look(place, index, populations);
        let settled = self.outcomes.on_status(&uid, now.instant, look);
        self.settled(settled, changes);
    }

    fn settled(&self, settled: Vec<Settled>, changes: &mut Vec<Change>) {
        let settled = settled.into_iter();
        changes.extend(settled.map(|settled| self.settle(settled, false)));
    }

    fn settle(&self, settled: Settled, by_record: bool) -> Change {
        let found = self.attributor.index().lookup(&settled.kill.kill.identity);
        let pod = match found {
            Found::Container(pod, _) | Found::Sandbox(pod) | Found::Unlisted(pod) => Some(pod.pod),
            Found::Nothing => None,
        };
        Change::Settled {
            settled,
            pod,
            by_record,
        }
    }

    fn look(&self, place: ContainerAt<'_>) -> Signs {
        look(place, self.attributor.index(), self.populations.as_ref())
    }
}

/// Whether the container still runs, by its cgroup and by its pod's status.
fn look(place: ContainerAt<'_>, index: &Index, populations: Option<&Populations>) -> Signs {
    let population = place
        .cgroup
        .zip(populations)
        .and_then(|(cgroup, populations)| {
            let names = names_of(cgroup).filter(|name| !name.is_empty());
            populations.of(names)
        });
    Signs {
        population,
        finished_at: place.id.and_then(|id| index.finished_at(&id)),
        exit_code: place.id.and_then(|id| index.exit_code(&id)),
    }
}
