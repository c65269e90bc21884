//! What `/metrics` of this daemon shows. Every name begins with `oom_probe_oom_group_`, so that the
//! two daemons of a node can be scraped under the same labels.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::annotation::Setting;
use crate::sinks::metrics::process::ProcessCollector;
use capture::model::labels::closed_set;

closed_set! {
    /// Why this daemon wrote a value.
    Reason {
        /// The annotation asks for it.
        Asked = "asked",
        /// Something else had written another one meanwhile.
        Overwritten = "overwritten",
        /// The annotation is gone.
        PutBack = "put_back",
    }
}

/// Upper bounds in seconds of the time from being told to having written.
const DELAY_BUCKETS: [f64; 7] = [0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 1.0];

/// The metrics. Clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    info: Family<InfoLabels, Gauge>,
    writes: Family<ReasonLabels, Counter>,
    write_errors: Counter,
    write_delay: Histogram,
    refused: Gauge,
    supported: Gauge,
    synced: Gauge,
    /// Kubernetes Events that were not sent.
    pub(super) events_dropped: Counter,
}

/// A container whose `memory.oom.group` is kept: the labels of `oom_probe_oom_group_info`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InfoLabels {
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// What its `memory.oom.group` is kept at.
    pub value: Setting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildInfo {
    version: &'static str,
    commit: &'static str,
}

impl Metrics {
    /// The metrics, all at 0, and a registry that holds them.
    #[must_use]
    pub fn new() -> (Self, Registry) {
        let metrics = Self {
            info: Family::default(),
            writes: Family::default(),
            write_errors: Counter::default(),
            write_delay: Histogram::new(DELAY_BUCKETS),
            refused: Gauge::default(),
            supported: Gauge::default(),
            synced: Gauge::default(),
            events_dropped: Counter::default(),
        };
        for &reason in Reason::ALL {
            metrics.writes.get_or_create_owned(&ReasonLabels { reason });
        }
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        (metrics, registry)
    }

    #[rustfmt::skip]
    fn register(&self, registry: &mut Registry) {
        let Self { info, writes, write_errors, write_delay, refused, supported, synced, events_dropped } = self;
        let build_info = Family::<BuildInfo, Gauge>::default();
        let build = BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("OOM_PROBE_COMMIT"),
        };
        build_info.get_or_create_owned(&build).set(1);

        registry.register("oom_probe_oom_group_info", "Containers whose memory.oom.group is kept at a value", info.clone());
        registry.register("oom_probe_oom_group_writes", "Values written to memory.oom.group", writes.clone());
        registry.register("oom_probe_oom_group_write_errors", "Cgroups that could not be written to or watched", write_errors.clone());
        registry.register("oom_probe_oom_group_write_delay_seconds", "Time from being told of a cgroup or of somebody else's write to having written", write_delay.clone());
        registry.register("oom_probe_oom_group_refused_annotations", "Annotations that are not followed", refused.clone());
        registry.register("oom_probe_oom_group_supported", "Whether this node's cgroups have memory.oom.group", supported.clone());
        registry.register("oom_probe_oom_group_kubernetes_synced", "Whether the pods of this node are known from the API server", synced.clone());
        registry.register("oom_probe_oom_group_events_dropped", "Kubernetes Events that were not sent", events_dropped.clone());
        registry.register("oom_probe_oom_group_build_info", "Version and commit of this build", build_info);
        registry.register_collector(Box::new(ProcessCollector::new()));
    }

    pub(super) fn wrote(&self, reason: Reason, after: Duration) {
        self.writes
            .get_or_create_owned(&ReasonLabels { reason })
            .inc();
        self.write_delay.observe(after.as_secs_f64());
    }

    pub(super) fn failed(&self) {
        self.write_errors.inc();
    }

    pub(super) fn set_supported(&self, supported: bool) {
        self.supported.set(i64::from(supported));
    }

    /// Sets `oom_probe_oom_group_kubernetes_synced`.
    pub fn set_synced(&self, synced: bool) {
        self.synced.set(i64::from(synced));
    }

    pub(super) fn set_refused(&self, refused: usize) {
        self.refused.set(i64::try_from(refused).unwrap_or(i64::MAX));
    }

    /// Replaces the series of `oom_probe_oom_group_info`.
    pub fn set_held(&self, held: impl Iterator<Item = InfoLabels>) {
        self.info.clear();
        for labels in held {
            self.info.get_or_create_owned(&labels).set(1);
        }
    }
}
