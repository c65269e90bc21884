//! Names that a real API server would refuse, on thousands of containers: what is told of them
//! stays what it is, line by line.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::apiserver::{
    hostile::{CONTAINERS_EACH, hostile},
    pods::uid,
};
use capture::model::pod::PodUid;
use oom_probe::{
    http::exposition::{self, Encoding, Format},
    kube::{index::Index, object},
    sinks::metrics::containers::{Containers, SERIES_TTL},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};

const PODS: u32 = 2500;
/// promtool's linter takes time by the square of the series: two minutes for those of all pods.
const LINTED_PODS: u32 = 250;

fn registry(pods: u32) -> (Registry, usize) {
    let mut index = Index::default();
    let room = pods as usize * CONTAINERS_EACH;
    let containers = Containers::new(SERIES_TTL, room, Counter::default());
    let now = Instant::now();
    for n in 0..pods {
        let object: object::Pod = serde_json::from_value(hostile(n).0).unwrap();
        let pod = index.apply(&object, now).unwrap();
        assert_eq!(pod.uid, uid(n).parse::<PodUid>().unwrap());
        containers.apply(&pod, now);
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(containers));
    (registry, room)
}

#[test]
fn the_exposition_of_5000_containers_with_hostile_names_is_valid() {
    let (registry, containers) = registry(PODS);
    for format in [Format::Text, Format::OpenMetrics] {
        let body = exposition::encode(&registry, format, Encoding::Identity).unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        let kills = |line: &&str| line.starts_with("oom_probe_container_oom_kills_total{");
        let series: BTreeSet<_> = text.split('\n').filter(kills).collect();
        assert_eq!(series.len(), containers, "one line for each container");
        for line in text.split_terminator('\n') {
            let known = ["# HELP oom_probe_", "# TYPE oom_probe_", "oom_probe_"];
            let is_end = line == "# EOF" && format == Format::OpenMetrics;
            assert!(
                is_end || known.iter().any(|start| line.starts_with(start)),
                "{line:?}"
            );
        }
        let ends = text
            .split_terminator('\n')
            .filter(|line| *line == "# EOF")
            .count();
        assert_eq!(ends, usize::from(format == Format::OpenMetrics));
    }
}

#[test]
fn promtool_takes_hostile_names_for_names() {
    let (registry, _) = registry(LINTED_PODS);
    let text = exposition::encode(&registry, Format::Text, Encoding::Identity).unwrap();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        println!("skipped: no promtool on the PATH: `cargo xtask tools` gets one");
        return;
    };
    promtool.stdin.take().unwrap().write_all(&text).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
