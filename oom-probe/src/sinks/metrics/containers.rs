//! The series of containers and workloads: there at 0 from the moment a container is known, so
//! that `increase()` sees the very first kill.
//!
//! | series of | shown | kept |
//! |---|---|---|
//! | an ordinary container or sidecar | from when its pod is bound to this node | until the pod is gone, Succeeded or Failed |
//! | an init container | the same | until it is done |
//! | an ephemeral container, or `POD` | from its first kill | with its pod |
//! | any of these that counted | | `--series-ttl` longer |
//! | a workload | from its first pod here | a day after its last |
//!
//! A pod that comes back under its name, as those of a StatefulSet do, goes on counting. There are
//! at most `--max-containers`: one that never counted is refused, or makes room for one that does.

mod encode;
pub mod state;
mod table;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;

use crate::{
    attribution::outcome::Settled,
    journal::series::{
        ContainerCounts, ContainerKey, EventCounts, LastKill, PerOutcome, PodName, WorkloadKey,
        WorkloadName,
    },
    kube::pod::{Container, ContainerKind, Pod},
    model::{
        kill::{Kill, PodRef, Record, SANDBOX, Workload},
        labels::Outcome,
    },
};
use table::Table;

/// The default of `--series-ttl`.
pub const SERIES_TTL: Duration = Duration::from_secs(60 * 60);
/// The default of `--max-containers`: 250 pods with 8 containers each.
pub const MAX_CONTAINERS: usize = 2000;
/// How long a workload's series outlive its last pod here: a Deployment's pods come and go.
const WORKLOAD_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Refused series that are told from new ones.
const MAX_REFUSED: usize = 10_000;

/// The series of this node's containers and workloads; clones share them. To be registered as a
/// collector beside the node metrics.
#[derive(Clone)]
pub struct Containers(Arc<Mutex<Store>>);

#[derive(Debug)]
struct Store {
    /// The pods of this node by namespace and name. Of two of one name the later one.
    pods: HashMap<PodName, Arc<Pod>>,
    /// How many unfinished pods each workload has here.
    workload_pods: HashMap<WorkloadName, usize>,
    containers: Table<ContainerKey, ContainerCounts>,
    workloads: Table<WorkloadKey, EventCounts>,
    refused: Counter,
    already_refused: HashSet<u64>,
    hasher: RandomState,
}

impl Containers {
    /// Without any series. `refused` counts those that `max` leaves no room for.
    pub fn new(series_ttl: Duration, max: usize, refused: Counter) -> Self {
        Self(Arc::new(Mutex::new(Store {
            pods: HashMap::new(),
            workload_pods: HashMap::new(),
            containers: Table::new(max, Duration::ZERO, series_ttl),
            workloads: Table::new(max, WORKLOAD_TTL, WORKLOAD_TTL),
            refused,
            already_refused: HashSet::new(),
            hasher: RandomState::new(),
        })))
    }

    /// A pod is new or has changed.
    pub fn apply(&self, pod: &Arc<Pod>, now: Instant) {
        self.store().apply(pod, now);
    }

    /// A pod is gone.
    pub fn remove(&self, pod: &Pod, now: Instant) {
        self.store().remove(pod, now);
    }

    /// Counts a kill whose container is known; any other is no container's.
    pub fn on_kill(&self, record: &Record, now: Instant) {
        if let Some(key) = record.pod.as_ref().and_then(ContainerKey::of) {
            let mut store = self.store();
            let counts = store.counts(&key, now);
            counts.kills = counts.kills.saturating_add(1);
            counts.last_kill = LastKill::of(&record.kill);
        }
    }

    /// Counts an event whose outcome is known.
    pub fn on_settled(&self, settled: &Settled, now: Instant) {
        let Some(pod) = &settled.kill.pod else { return };
        let Some(key) = ContainerKey::of(pod) else {
            return;
        };
        let mut store = self.store();
        let counts = store.counts(&key, now);
        counts.events.add(settled.outcome);
        let last = counts.last_event.get_mut(settled.outcome);
        *last = (*last).max(Some(settled.kill.kill.time));
        if let Some(workload) = &pod.workload {
            let key = WorkloadKey {
                workload: WorkloadName::new(&key.pod.0, workload),
                container: key.container,
            };
            let Store {
                workloads,
                workload_pods,
                ..
            } = &mut *store;
            workloads
                .count(&key, now, |key| workload_pods.contains_key(&key.workload))
                .add(settled.outcome);
        }
    }

    /// Drops the series whose time is over; once a minute is enough.
    pub fn tick(&self, now: Instant) {
        self.store().expire(now);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Containers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Containers").finish_non_exhaustive()
    }
}

impl Store {
    fn apply(&mut self, pod: &Arc<Pod>, now: Instant) {
        let name = (pod.namespace.clone(), pod.name.clone());
        let before = self.pods.insert(name.clone(), pod.clone());
        if let Some(before) = &before {
            self.leave_workload(before);
        }
        self.join_workload(pod);
        let shown = pod.containers.iter().filter(|at| is_shown(pod, at));
        for container in shown {
            let key = ContainerKey {
                pod: name.clone(),
                container: container.name.clone(),
            };
            let shown = self.containers.show(&key, now);
            self.note_refusal(&key, shown.is_ok());
            if let Some(workload) = &pod.workload {
                let key = WorkloadKey {
                    workload: WorkloadName::new(&pod.namespace, workload),
                    container: key.container,
                };
                let shown = self.workloads.show(&key, now);
                self.note_refusal(&key, shown.is_ok());
            }
        }
        // Most updates change nothing that a series depends on.
        if before.is_some_and(|before| lost_series(&before, pod)) {
            self.expire(now);
        }
    }

    fn remove(&mut self, pod: &Pod, now: Instant) {
        let name = (pod.namespace.clone(), pod.name.clone());
        // Another pod of that name may be there already.
        if self.pods.get(&name).is_some_and(|at| at.uid == pod.uid)
            && let Some(before) = self.pods.remove(&name)
        {
            self.leave_workload(&before);
            self.expire(now);
        }
    }

    fn counts(&mut self, key: &ContainerKey, now: Instant) -> &mut ContainerCounts {
        let pods = &self.pods;
        self.containers.count(key, now, |key| is_owned(pods, key))
    }

    fn expire(&mut self, now: Instant) {
        let Self {
            pods,
            workload_pods,
            containers,
            workloads,
            ..
        } = self;
        containers.expire(now, |key| is_owned(pods, key));
        workloads.expire(now, |key| workload_pods.contains_key(&key.workload));
    }

    fn join_workload(&mut self, pod: &Pod) {
        if let Some(workload) = workload_of(pod) {
            *self.workload_pods.entry(workload).or_default() += 1;
        }
    }

    fn leave_workload(&mut self, pod: &Pod) {
        if let Some(workload) = workload_of(pod)
            && let Some(pods) = self.workload_pods.get_mut(&workload)
        {
            *pods -= 1;
            if *pods == 0 {
                self.workload_pods.remove(&workload);
            }
        }
    }

    /// Counts each refused series once, though its pod is applied again and again.
    fn note_refusal(&mut self, key: &impl std::hash::Hash, shown: bool) {
        let hash = self.hasher.hash_one(key);
        if shown {
            self.already_refused.remove(&hash);
        } else if self.already_refused.len() < MAX_REFUSED && self.already_refused.insert(hash) {
            self.refused.inc();
        }
    }
}

/// Whether a container's series is shown before it has counted anything.
fn is_shown(pod: &Pod, container: &Container) -> bool {
    !pod.finished && !container.done && container.kind != ContainerKind::Ephemeral
}

/// Whether what a container has counted stays without limit.
fn is_owned(pods: &HashMap<PodName, Arc<Pod>>, key: &ContainerKey) -> bool {
    let Some(pod) = pods.get(&key.pod).filter(|pod| !pod.finished) else {
        return false;
    };
    match pod.container(&key.container) {
        Some(container) => !container.done,
        None => &*key.container == SANDBOX,
    }
}

fn lost_series(before: &Pod, pod: &Pod) -> bool {
    let owned = |pod: &Pod| {
        let not_done = pod.containers.iter().filter(|at| !at.done);
        if pod.finished { 0 } else { not_done.count() }
    };
    pod.uid != before.uid || owned(pod) < owned(before)
}

/// The workload that an unfinished pod keeps alive.
fn workload_of(pod: &Pod) -> Option<WorkloadName> {
    let workload = pod.workload.as_ref().filter(|_| !pod.finished)?;
    Some(WorkloadName::new(&pod.namespace, workload))
}

impl ContainerKey {
    /// Absent where namespace, pod or container is not known.
    fn of(pod: &PodRef) -> Option<Self> {
        Some(Self {
            pod: (
                pod.namespace.as_deref()?.into(),
                pod.name.as_deref()?.into(),
            ),
            container: pod.container.as_deref()?.into(),
        })
    }
}

impl WorkloadName {
    fn new(namespace: &Arc<str>, workload: &Workload) -> Self {
        Self {
            namespace: namespace.clone(),
            kind: workload.kind.to_lowercase().into(),
            name: workload.name.as_str().into(),
        }
    }
}

impl LastKill {
    fn of(kill: &Kill) -> Self {
        let cgroup = kill.cgroup.as_ref();
        Self {
            anon: kill.victim.anon_rss_bytes,
            file: kill.victim.file_rss_bytes,
            shmem: kill.victim.shmem_rss_bytes,
            usage: cgroup.and_then(|cgroup| cgroup.usage_bytes),
            limit: cgroup.and_then(|cgroup| cgroup.limit_bytes),
        }
    }
}

impl<T> PerOutcome<T> {
    fn get_mut(&mut self, outcome: Outcome) -> &mut T {
        match outcome {
            Outcome::Survived => &mut self.survived,
            Outcome::Died => &mut self.died,
        }
    }
}

impl EventCounts {
    fn add(&mut self, outcome: Outcome) {
        let count = self.get_mut(outcome);
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
