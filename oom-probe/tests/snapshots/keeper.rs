//! What `oom-probe oom-group` tells of a node: `/api/v1/oom-group`, its counters and its notices.
//!
//! Cgroups are directories that anybody may write to; the watches on them are real.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    time::Instant,
};

use crate::apiserver::pods::{PodJson, container_id, pod, uid};
use capture::cgroup::{
    hierarchy::{Hierarchy, MemoryRoot},
    kubepods::Kubepods,
};
use oom_probe::{
    http::exposition::{Encoding, Format, encode},
    kube::{PodEvent, object},
    oom_group::{keeper::Keeper, metrics::Metrics},
};
use prometheus_client::registry::Registry;
use rustix::fs::{XattrFlags, setxattr};
use serde_json::{Value, json};

use super::hold;

const ANNOTATION: &str = "oom-probe.io/memory.oom.group";
const FILE: &str = "memory.oom.group";

fn annotated(pod: PodJson, annotations: &Value) -> Box<object::Pod> {
    let mut pod = pod.0;
    pod["metadata"]["annotations"] = annotations.clone();
    serde_json::from_value(pod).unwrap()
}

fn cart(annotations: &Value) -> Box<object::Pod> {
    annotated(pod("cart", 1).running("app", 1), annotations)
}

fn pods() -> [Box<object::Pod>; 3] {
    let db = pod("db", 2).container("backup").running("app", 2);
    let of_app = format!("{ANNOTATION}.app");
    let of_nothing = format!("{ANNOTATION}.x\u{1b}");
    [
        cart(&json!({ANNOTATION: "0"})),
        annotated(db.running("backup", 3), &json!({of_app: "1"})),
        annotated(
            pod("typo", 3),
            &json!({ANNOTATION: "ye\ns", of_nothing: "1"}),
        ),
    ]
}

fn keeper(root: &Path, hierarchy: Hierarchy) -> (Keeper, Registry) {
    let (metrics, registry) = Metrics::new();
    let path = root.to_owned();
    let root = MemoryRoot { hierarchy, path };
    let mut keeper = Keeper::new(&root, Kubepods::default(), metrics).unwrap();
    keeper.on_pods(PodEvent::ListStarts, Instant::now());
    for pod in pods() {
        keeper.on_pods(PodEvent::Listed(pod), Instant::now());
    }
    keeper.on_pods(PodEvent::Synced { listed: true }, Instant::now());
    (keeper, registry)
}

/// Makes a container's cgroup, and those above it, as mkdir(2) does: with their files.
fn make(root: &Path, pod: u32, container: u32) {
    let mut path = root.to_owned();
    let pod = format!("pod{}", uid(pod));
    for name in ["kubepods", "burstable", &pod, &container_id(container)] {
        path.push(name);
        if fs::create_dir(&path).is_ok() {
            fs::write(path.join(FILE), "0").unwrap();
        }
    }
}

/// As the kubelet does where it asks for a group kill: in one write, as cgroup2 takes it.
fn write(root: &Path, pod: u32, container: u32, value: &str) {
    let cgroup = format!(
        "kubepods/burstable/pod{}/{}",
        uid(pod),
        container_id(container)
    );
    let file = root.join(cgroup).join(FILE);
    let mut file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all(value.as_bytes()).unwrap();
}

/// Everything that the daemon would show and tell now.
fn add(what: &str, keeper: &mut Keeper, registry: &Registry, text: &mut String) {
    // Its own writes, too, are told by the watches.
    for _ in 0..3 {
        keeper.on_changes(Instant::now()).unwrap();
    }
    keeper.refresh();
    writeln!(text, "{what}: {} held", keeper.held()).unwrap();
    for notice in keeper.take_notices() {
        let event = notice.event("node-1", jiff::Timestamp::UNIX_EPOCH);
        let event: Value = serde_json::from_slice(&event.body).unwrap();
        let pod = &event["involvedObject"]["name"];
        writeln!(text, "{pod}: {} {}", event["reason"], event["message"]).unwrap();
    }
    let body = encode(registry, Format::Text, Encoding::Identity).unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let mut series: Vec<_> = body
        .lines()
        .filter(|line| line.starts_with("oom_probe_oom_group_"))
        // What takes time, and what each commit changes.
        .filter(|line| !line.contains("_delay_") && !line.contains("build_info"))
        .collect();
    series.sort_unstable();
    writeln!(
        text,
        "{}\n{}",
        series.join("\n"),
        shown(&keeper.to_json("node-1"))
    )
    .unwrap();
}

/// A field a line, in the order in which they come, without times.
fn shown(json: &str) -> String {
    let fields = json.replace(",\"", ",\n\"").replace("{\"", "{\n\"");
    let fields = fields.lines().map(|line| match line.split_once(':') {
        Some((name @ "\"last_write\"", time)) => {
            let after = time.trim_start_matches('"').split_once('"');
            format!("{name}:…{}\n", after.map_or("", |(_, after)| after))
        }
        _ => format!("{line}\n"),
    });
    fields.collect()
}

#[test]
fn state_of_oom_group() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    if let Err(error) = setxattr(root, "user.test", b"1", XattrFlags::empty()) {
        eprintln!("skipped: no user attributes in {}: {error}", root.display());
        return;
    }
    fs::create_dir_all(root.join("kubepods/burstable")).unwrap();
    let mut text = String::new();
    let (mut at, registry) = keeper(root, Hierarchy::V2);
    add("no cgroups", &mut at, &registry, &mut text);
    for (pod, container) in [(1, 1), (2, 2), (2, 3)] {
        make(root, pod, container);
        at.on_changes(Instant::now()).unwrap();
        write(root, pod, container, "1");
    }
    add("all run", &mut at, &registry, &mut text);
    write(root, 1, 1, "1");
    write(root, 2, 2, "0");
    add("somebody else writes", &mut at, &registry, &mut text);
    at.on_pods(PodEvent::Applied(cart(&json!({}))), Instant::now());
    add("an annotation is gone", &mut at, &registry, &mut text);
    let (mut at, registry) = keeper(root, Hierarchy::V1);
    add("cgroup v1", &mut at, &registry, &mut text);
    hold("keeper.txt", &text);
}
