//! `/metrics` of both daemons: names, help, types, units, labels and which series there are; no
//! values.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::apiserver::pods::{PodJson, pod};
use capture::model::labels::{Limit, Outcome};
use oom_probe::{
    attribution::outcome::Settled,
    http::exposition::{Encoding, Format, encode},
    kube::{names::Names, pod::Pod},
    oom_group::{
        annotation::Setting,
        metrics::{InfoLabels, Metrics as OomGroupMetrics},
    },
    sinks::metrics::{
        HookInfo, Metrics, NodeCounters,
        containers::{Containers, MAX_CONTAINERS, SERIES_TTL},
    },
};
use prometheus_client::registry::Registry;

use super::{hold, kills};

#[test]
fn metrics_of_run() {
    let registry = registry_of_run();
    hold("metrics-run.txt", &shown(&registry));
    hold("metrics-run-text.txt", &families_in_text(&registry));
}

/// With every family and every label.
fn registry_of_run() -> Registry {
    let (metrics, mut registry) = Metrics::new();
    metrics.oom_event(Limit::Node, jiff::Timestamp::UNIX_EPOCH);
    metrics.observe_capture(Duration::from_millis(1));
    metrics.set_node_counters(NodeCounters {
        vmstat_oom_kills: Some(0),
        unaccounted_kills: Some(0),
        ..NodeCounters::default()
    });
    metrics.set_hook(&HookInfo {
        hook: "raw_tp/mark_victim".into(),
        context: "fentry".into(),
        btf: "kernel".into(),
        cgroup_version: "2".into(),
    });

    let now = Instant::now();
    let containers = Containers::new(SERIES_TTL, MAX_CONTAINERS, metrics.series_refused.clone());
    registry.register_collector(Box::new(containers.clone()));
    containers.apply(&known(&pod("idle", 2).of_deployment("idle")), now);
    let (_, kill) = kills::all().swap_remove(0);
    containers.on_kill(&kill, now);
    for outcome in [Outcome::Died, Outcome::Survived] {
        let settled = Settled {
            outcome,
            kill: Box::new(kill.clone()),
            kills: 1,
        };
        containers.on_settled(&settled, now);
    }
    registry
}

#[test]
fn metrics_of_oom_group() {
    let (metrics, registry) = OomGroupMetrics::new();
    let held = InfoLabels {
        namespace: "shop".into(),
        pod: "cart".into(),
        container: "app".into(),
        value: Setting::Process,
    };
    metrics.set_held([held].into_iter());
    hold("metrics-oom-group.txt", &shown(&registry));
}

/// The families as Prometheus' older format names them; their samples are the same.
fn families_in_text(registry: &Registry) -> String {
    let body = encode(registry, Format::Text, Encoding::Identity).unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let comments = body.lines().filter(|line| line.starts_with('#'));
    comments.map(|line| format!("{line}\n")).collect()
}

fn known(pod: &PodJson) -> Arc<Pod> {
    let object = serde_json::from_value(pod.0.clone()).unwrap();
    Arc::new(Pod::new(&object, None, &mut Names::default()).unwrap())
}

/// The exposition without values, the samples of a family in order: theirs is that of a hash map.
fn shown(registry: &Registry) -> String {
    let body = encode(registry, Format::OpenMetrics, Encoding::Identity).unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    // A comment stays where it is: samples are sorted between two.
    let mut parts: Vec<Vec<String>> = Vec::new();
    for line in body.lines() {
        match (line.rsplit_once(' '), parts.last_mut()) {
            (Some((series, _value)), Some(part)) if !line.starts_with('#') => {
                part.push(without_build(series));
            }
            _ => parts.push(vec![line.to_owned()]),
        }
    }
    parts.iter_mut().for_each(|part| part[1..].sort_unstable());
    parts
        .concat()
        .iter()
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Without the values that each commit changes.
fn without_build(series: &str) -> String {
    let (Some((name, labels)), true) = (series.split_once('{'), series.contains("build_info{"))
    else {
        return series.to_owned();
    };
    let labels = labels.trim_end_matches('}').split(',');
    let names = labels.map(|label| label.split('=').next().unwrap_or_default());
    format!("{name}{{{}}}", names.collect::<Vec<_>>().join(","))
}
