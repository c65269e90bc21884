//! What is kept of the series of containers and workloads.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Namespace and name.
pub(crate) type PodName = (Arc<str>, Arc<str>);

/// Which container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerKey {
    pub(crate) pod: PodName,
    pub(crate) container: Arc<str>,
}

/// Which workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkloadName {
    pub(crate) namespace: Arc<str>,
    /// Lower case.
    pub(crate) kind: Arc<str>,
    pub(crate) name: Arc<str>,
}

/// Which container of a workload's pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkloadKey {
    pub(crate) workload: WorkloadName,
    pub(crate) container: Arc<str>,
}

/// The values of a container's series.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContainerCounts {
    pub(crate) kills: u64,
    pub(crate) events: EventCounts,
    pub(crate) last_event: PerOutcome<Option<Timestamp>>,
    pub(crate) last_kill: LastKill,
}

/// What the memory of the last victim was, bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LastKill {
    pub(crate) anon: Option<u64>,
    pub(crate) file: Option<u64>,
    pub(crate) shmem: Option<u64>,
    pub(crate) usage: Option<u64>,
    pub(crate) limit: Option<u64>,
}

/// OOM events.
pub(crate) type EventCounts = PerOutcome<u64>;

/// One of each for the two outcomes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct PerOutcome<T> {
    pub(crate) survived: T,
    pub(crate) died: T,
}

/// What a container has counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredContainer {
    pub(crate) key: ContainerKey,
    pub(crate) counts: ContainerCounts,
    pub(crate) idle_s: u64,
}

/// What a workload has counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredWorkload {
    pub(crate) key: WorkloadKey,
    pub(crate) counts: EventCounts,
    pub(crate) idle_s: u64,
}
