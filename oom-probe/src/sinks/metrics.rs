//! The node's own metrics: totals of kills and events, what the kernel counted, and the daemon.
//!
//! Series of containers and workloads are a collector of their own in the same registry. Names and
//! labels are a contract: docs/metrics.md describes each.

pub mod containers;
pub(crate) mod first_scrape;
pub mod node;
pub(crate) mod process;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::journal::entry::{Counted, Totals};
use capture::model::labels::{Attribution, Limit, Role, Scope};
use node::KernelCounters;
pub use node::NodeCounters;

/// Upper bounds in seconds; 2, 4 and 10 ms are the budgets for the median, the 99th percentile,
/// and the 99th percentile in a storm.
const CAPTURE_BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.002, 0.004, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0,
];

/// The node metrics. Clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    kills: Family<KillLabels, Counter>,
    oom_events: Family<LimitLabels, Counter>,
    last_oom_event: Family<LimitLabels, Gauge<f64, AtomicU64>>,
    attributions: Family<AttributionLabels, Counter>,
    capture_duration: Histogram,
    armed: Gauge,
    pinned: Gauge,
    kubernetes_synced: Gauge,
    hook_info: Family<HookInfo, Gauge>,
    kernel: Arc<KernelCounters>,
    /// `mark_victim` for tasks that were dying anyway.
    pub exiting_marks: Counter,
    /// Records that were taken from the ring.
    pub records_received: Counter,
    /// Those of them that were not understood: wrong length or version.
    pub records_rejected: Counter,
    /// Kills that happened while no daemon ran.
    pub drained_kills: Counter,
    /// Container series that `--max-containers` left no room for.
    pub series_refused: Counter,
    /// Lines that standard output did not take.
    pub log_lines_dropped: Counter,
    /// OOM events that no Kubernetes Event tells of, though one should.
    pub events_dropped: Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KillLabels {
    scope: Scope,
    limit: Limit,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttributionLabels {
    result: Attribution,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildInfo {
    version: &'static str,
    commit: &'static str,
}

/// How the kernel is hooked: the labels of `oom_probe_hook_info`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HookInfo {
    /// Where kills come from: `raw_tp/mark_victim`, `tp_btf/mark_victim` …
    pub hook: String,
    /// What tells the domain: `fentry`, `kprobe`, `none`.
    pub context: String,
    /// Where the field offsets come from: `kernel`, `file`, `none`.
    pub btf: String,
    /// Version of the hierarchy with the memory controller: `1` or `2`.
    pub cgroup_version: String,
}

impl Metrics {
    /// The metrics, all at 0, and a registry that holds them.
    pub fn new() -> (Self, Registry) {
        let metrics = Self {
            kills: Family::default(),
            oom_events: Family::default(),
            last_oom_event: Family::default(),
            attributions: Family::default(),
            capture_duration: Histogram::new(CAPTURE_BUCKETS),
            armed: Gauge::default(),
            pinned: Gauge::default(),
            kubernetes_synced: Gauge::default(),
            hook_info: Family::default(),
            kernel: Arc::default(),
            exiting_marks: Counter::default(),
            records_received: Counter::default(),
            records_rejected: Counter::default(),
            drained_kills: Counter::default(),
            series_refused: Counter::default(),
            log_lines_dropped: Counter::default(),
            events_dropped: Counter::default(),
        };
        metrics.start_at_zero();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        (metrics, registry)
    }

    /// Adds the metrics, the build and the process to `registry`.
    #[rustfmt::skip]
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            kills,
            oom_events,
            last_oom_event,
            attributions,
            capture_duration,
            armed,
            pinned,
            kubernetes_synced,
            hook_info,
            kernel,
            exiting_marks,
            records_received,
            records_rejected,
            drained_kills,
            series_refused,
            log_lines_dropped,
            events_dropped,
        } = self;
        let build_info = Family::<BuildInfo, Gauge>::default();
        let build = BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("OOM_PROBE_COMMIT"),
        };
        build_info.get_or_create_owned(&build).set(1);

        registry.register("oom_probe_kills", "Processes killed by the kernel's OOM killer", kills.clone());
        registry.register("oom_probe_oom_events", "Runs of the kernel's OOM killer that chose a victim", oom_events.clone());
        registry.register("oom_probe_last_oom_event_timestamp_seconds", "When the OOM killer last chose a victim", last_oom_event.clone());
        registry.register("oom_probe_attributions", "Kills by the way their pod was found", attributions.clone());
        registry.register("oom_probe_exiting_marks", "Marks of tasks that were dying anyway: no kills", exiting_marks.clone());
        registry.register("oom_probe_records_received", "Records taken from the ring buffer", records_received.clone());
        registry.register("oom_probe_records_rejected", "Records that were not understood", records_rejected.clone());
        registry.register("oom_probe_drained_kills", "Kills that happened while no daemon ran", drained_kills.clone());
        registry.register("oom_probe_series_refused", "Container series that the bound on containers left no room for", series_refused.clone());
        registry.register("oom_probe_log_lines_dropped", "Kill lines that standard output did not take", log_lines_dropped.clone());
        registry.register("oom_probe_kubernetes_events_dropped", "Kubernetes Events that were not sent", events_dropped.clone());
        registry.register("oom_probe_capture_duration_seconds", "Time from a kill to its record", capture_duration.clone());
        registry.register("oom_probe_armed", "Whether kills are being captured", armed.clone());
        registry.register("oom_probe_pinned", "Whether kills are kept while no daemon runs", pinned.clone());
        registry.register("oom_probe_kubernetes_synced", "Whether the pods of this node are known from the API server", kubernetes_synced.clone());
        registry.register("oom_probe_hook_info", "How the kernel is hooked", hook_info.clone());
        registry.register("oom_probe_build_info", "Version and commit of this build", build_info);
        registry.register_collector(Box::new(Arc::clone(kernel)));
        registry.register_collector(Box::new(process::ProcessCollector::new()));
    }

    /// One series of `oom_probe_kills_total`.
    pub fn kills(&self, scope: Scope, limit: Limit, role: Role) -> Counter {
        self.kills
            .get_or_create_owned(&KillLabels { scope, limit, role })
    }

    /// Counts a kill, and its OOM event if it opens one.
    pub fn kill(&self, counted: &Counted) {
        if let Some(time) = counted.opened {
            self.oom_event(counted.limit, time);
        }
        self.kills(counted.scope, counted.limit, counted.role).inc();
    }

    /// Counts kills of which nothing is known.
    pub fn unknown_kills(&self, kills: u64) {
        self.kills(Scope::Unknown, Limit::Unknown, Role::Primary)
            .inc_by(kills);
    }

    /// One series of `oom_probe_oom_events_total`.
    pub fn oom_events(&self, limit: Limit) -> Counter {
        self.oom_events.get_or_create_owned(&LimitLabels { limit })
    }

    /// Counts an OOM event at its time. The time is what alerts stand on: it also shows an event
    /// that was counted before the first scrape, and one that is older than the alert looks back.
    pub fn oom_event(&self, limit: Limit, time: Timestamp) {
        self.oom_events(limit).inc();
        let last = self
            .last_oom_event
            .get_or_create_owned(&LimitLabels { limit });
        last.set(time.as_duration().as_secs_f64());
    }

    /// One series of `oom_probe_attributions_total`.
    pub fn attributions(&self, result: Attribution) -> Counter {
        self.attributions
            .get_or_create_owned(&AttributionLabels { result })
    }

    /// Observes the time from a kill to its record; not for drained kills, which say how long no
    /// daemon ran.
    pub fn observe_capture(&self, duration: Duration) {
        self.capture_duration.observe(duration.as_secs_f64());
    }

    /// Takes what the kernel counted: to be called before each scrape.
    pub fn set_node_counters(&self, counters: NodeCounters) {
        self.kernel.set(counters);
    }

    /// Sets `oom_probe_armed`.
    pub fn set_armed(&self, armed: bool) {
        self.armed.set(i64::from(armed));
    }

    /// Sets `oom_probe_pinned`.
    pub fn set_pinned(&self, pinned: bool) {
        self.pinned.set(i64::from(pinned));
    }

    /// Sets `oom_probe_kubernetes_synced`.
    pub fn set_kubernetes_synced(&self, synced: bool) {
        self.kubernetes_synced.set(i64::from(synced));
    }

    /// Replaces the one series of `oom_probe_hook_info`.
    pub fn set_hook(&self, hook: &HookInfo) {
        self.hook_info.clear();
        self.hook_info.get_or_create_owned(hook).set(1);
    }

    /// What has been counted by label.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for &scope in Scope::ALL {
            for &limit in Limit::ALL {
                for &role in Role::ALL {
                    let labels = KillLabels { scope, limit, role };
                    let kills = self.kills.get(&labels).map_or(0, |count| count.get());
                    if kills > 0 {
                        totals.kills.push((scope, limit, role, kills));
                    }
                }
            }
        }
        let events = Limit::ALL.iter();
        totals.oom_events = events.map(|&at| (at, self.oom_events(at).get())).collect();
        totals.last_oom_events = Limit::ALL
            .iter()
            .filter_map(|&limit| {
                let last = self.last_oom_event.get(&LimitLabels { limit })?;
                Some((limit, last.get()))
            })
            .collect();
        let attributions = Attribution::ALL.iter();
        totals.attributions = attributions
            .map(|&at| (at, self.attributions(at).get()))
            .collect();
        totals
    }

    /// Goes on with what was counted before a restart.
    pub fn restore(&self, totals: &Totals) {
        for &(scope, limit, role, kills) in &totals.kills {
            self.kills(scope, limit, role).inc_by(kills);
        }
        for &(limit, events) in &totals.oom_events {
            self.oom_events(limit).inc_by(events);
        }
        for &(limit, seconds) in &totals.last_oom_events {
            self.last_oom_event
                .get_or_create_owned(&LimitLabels { limit })
                .set(seconds);
        }
        for &(result, kills) in &totals.attributions {
            self.attributions(result).inc_by(kills);
        }
    }

    fn start_at_zero(&self) {
        for &scope in Scope::ALL {
            for &limit in Limit::ALL {
                for &role in Role::ALL {
                    if expected(scope, limit, role) {
                        self.kills(scope, limit, role);
                    }
                }
            }
        }
        for &limit in Limit::ALL {
            self.oom_events(limit);
        }
        for &result in Attribution::ALL {
            self.attributions(result);
        }
    }
}

/// Whether a series of `oom_probe_kills_total` is there before its first kill.
///
/// `increase()` misses the step from absent to 1, so every combination that a node can be expected
/// to see is. The others are left out to halve what each node adds to Prometheus: a process outside
/// Kubernetes has no pod whose limit could be hit; kills of another node are somebody else's to
/// alert on; of a kill without a record nothing is known but that it was one; and group kills at a
/// cpuset's or a memory policy's limit take two rarities at once.
fn expected(scope: Scope, limit: Limit, role: Role) -> bool {
    let primary = role == Role::Primary;
    match scope {
        Scope::Pod | Scope::Host if matches!(limit, Limit::Cpuset | Limit::Mempolicy) => primary,
        Scope::Pod => true,
        Scope::Host => limit != Limit::Pod,
        Scope::OtherNode => primary && !matches!(limit, Limit::Cpuset | Limit::Mempolicy),
        Scope::Unknown => primary && matches!(limit, Limit::Node | Limit::Unknown),
    }
}

#[cfg(test)]
mod tests;
