//! The keeper on a directory tree that stands for cgroup2: with real watches and attributes, but
//! files that anybody may write to. Real cgroups: tests/real_oom.

mod put_back;
mod retry;

use crate::{
    http::exposition::{Encoding, Format, encode},
    kube::fixture::{PodJson, config_hash, container_id, pod, uid},
};
use capture::cgroup::{hierarchy::Hierarchy, kubepods::Kubepods};
use std::fs;

use serde_json::{Value, json};

use super::*;
use Setting::{Group, Process};

const ANNOTATION: &str = "oom-probe.io/memory.oom.group";

/// A node's cgroups and the keeper of them.
struct Node {
    root: tempfile::TempDir,
    keeper: Keeper,
    now: Instant,
}

impl Node {
    /// A node without pods, after the first list.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("kubepods/burstable")).unwrap();
        let keeper = keeper(root.path(), Hierarchy::V2);
        let now = Instant::now();
        let mut node = Self { root, keeper, now };
        node.list(&[]);
        node
    }

    /// As after a restart of the daemon.
    fn restarted(&mut self, pods: &[&PodJson]) {
        self.keeper = keeper(self.root.path(), Hierarchy::V2);
        self.list(pods);
    }

    fn list(&mut self, pods: &[&PodJson]) {
        self.keeper.on_pods(PodEvent::ListStarts, self.now);
        for pod in pods {
            self.keeper.on_pods(PodEvent::Listed(object(pod)), self.now);
        }
        self.keeper
            .on_pods(PodEvent::Synced { listed: true }, self.now);
    }

    fn apply(&mut self, pod: &PodJson) {
        self.keeper
            .on_pods(PodEvent::Applied(object(pod)), self.now);
        self.settle();
    }

    /// Lets the keeper see what happened, its own writes included.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.keeper.on_changes(self.now).unwrap();
        }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Makes a cgroup as mkdir(2) does on cgroup2: with its files.
    fn make(&self, below: &str) {
        let mut path = self.root.path().to_owned();
        for name in below.split('/') {
            path.push(name);
            if !path.is_dir() {
                fs::create_dir(&path).unwrap();
                fs::write(file::path(&path), "0").unwrap();
            }
        }
    }

    /// Makes a container's cgroup as runc does where the kubelet asks for a group kill, and lets the
    /// keeper see each step.
    fn start(&mut self, below: &str) {
        self.make(below);
        self.settle();
        self.write(below, Group);
        self.settle();
    }

    /// Somebody else writes.
    fn write(&self, below: &str, setting: Setting) {
        file::write(&self.path(below), setting).unwrap();
    }

    fn remove(&mut self, below: &str) {
        fs::remove_dir_all(self.path(below)).unwrap();
        self.settle();
    }

    fn value(&self, below: &str) -> Setting {
        file::read(&self.path(below)).unwrap()
    }

    fn said(&mut self) -> Vec<String> {
        let notices = self.keeper.take_notices();
        notices.iter().map(Notice::note).collect()
    }

    /// Whether this file system takes the attributes that cgroup2 takes.
    fn has_notes(&self) -> bool {
        let takes = file::remember(self.root.path(), Group).is_ok();
        if !takes {
            println!(
                "skipped in part: no user attributes in {}",
                self.root.path().display()
            );
        }
        takes
    }
}

fn keeper(root: &Path, hierarchy: Hierarchy) -> Keeper {
    let root = MemoryRoot {
        hierarchy,
        path: root.to_owned(),
    };
    Keeper::new(&root, Kubepods::default(), Metrics::new().0).unwrap()
}

fn object(pod: &PodJson) -> Box<object::Pod> {
    serde_json::from_value(pod.0.clone()).unwrap()
}

fn annotated(mut pod: PodJson, annotations: &Value) -> PodJson {
    pod.0["metadata"]["annotations"] = annotations.clone();
    pod
}

/// Pod number 1, which asks for 0.
fn cart() -> PodJson {
    annotated(pod("cart", 1), &json!({ANNOTATION: "0"}))
}

fn pod_path(n: u32) -> String {
    format!("kubepods/burstable/pod{}", uid(n))
}

fn container(pod: u32, id: u32) -> String {
    format!("{}/{}", pod_path(pod), container_id(id))
}

#[test]
fn a_new_container_gets_the_value_as_soon_as_it_is_there_and_again_after_a_restart() {
    let mut node = Node::new();
    node.apply(&cart());
    for id in 1..=3 {
        node.start(&container(1, id));
        assert_eq!(node.value(&container(1, id)), Process, "run {id}");
        node.remove(&container(1, id));
    }
    assert!(node.keeper.groups.is_empty());
    // Pods come and go too, and nothing of them is kept.
    let watched = |node: &Node, path: &str| node.keeper.notify.is_watched(&node.path(path));
    assert!(watched(&node, &pod_path(1)));
    node.remove(&pod_path(1));
    assert!(!watched(&node, &pod_path(1)));
    node.start(&container(1, 4));
    assert_eq!(node.value(&container(1, 4)), Process);
}

#[test]
fn a_cgroup_that_is_there_before_the_pod_is_known_is_found_when_it_is() {
    let mut node = Node::new();
    node.start(&container(1, 1));
    node.start(&container(2, 2));
    assert_eq!(node.value(&container(1, 1)), Group);
    node.apply(&cart());
    node.apply(&pod("db", 2));
    assert_eq!(node.value(&container(1, 1)), Process);
    assert_eq!(node.value(&container(2, 2)), Group, "not asked for");
    assert!(!node.keeper.notify.is_watched(&node.path(&pod_path(2))));
}

#[test]
fn an_in_place_resize_that_writes_the_kubelets_value_is_undone() {
    let mut node = Node::new();
    node.apply(&cart());
    node.start(&container(1, 1));
    for _ in 0..5 {
        node.write(&container(1, 1), Group);
        node.settle();
        assert_eq!(node.value(&container(1, 1)), Process);
    }
    // Its own writes do not lead to more of them.
    let writes = node.keeper.groups.values().next().unwrap().writes;
    node.settle();
    assert_eq!(node.keeper.groups.values().next().unwrap().writes, writes);
    assert_eq!(writes, 6);
}

#[test]
fn somebody_who_keeps_writing_is_given_way_until_the_next_look_at_everything() {
    let mut node = Node::new();
    if !node.has_notes() {
        return;
    }
    node.apply(&cart());
    node.start(&container(1, 1));
    for _ in 0..2 * MAX_RETAKES {
        node.write(&container(1, 1), Group);
        node.settle();
    }
    assert_eq!(node.value(&container(1, 1)), Group);
    let state: Value = serde_json::from_str(&node.keeper.to_json("n")).unwrap();
    assert_eq!(state["containers"][0]["held"], false);
    let error = state["containers"][0]["cgroups"][0]["error"]
        .as_str()
        .unwrap();
    assert!(error.contains("keeps writing 1"), "{error}");
    node.now += RESYNC;
    node.keeper.tick(node.now);
    assert_eq!(node.value(&container(1, 1)), Process);
}

#[test]
fn cgroups_inside_of_a_container_get_the_value_too() {
    let mut node = Node::new();
    node.apply(&cart());
    node.start(&container(1, 1));
    let inside = format!("{}/container", container(1, 1));
    node.start(&inside);
    let further = format!("{inside}/a/b");
    node.start(&further);
    for path in [&inside, &format!("{inside}/a"), &further] {
        assert_eq!(node.value(path), Process, "{path}");
    }
    node.remove(&format!("{inside}/a"));
    assert_eq!(node.keeper.groups.len(), 2);
}

#[test]
fn where_containers_differ_a_new_one_waits_for_its_name() {
    let asked = |pod: PodJson| annotated(pod, &json!({format!("{ANNOTATION}.app"): "0"}));
    let both = || pod("cart", 1).container("proxy");
    let mut node = Node::new();
    node.apply(&asked(both()));
    node.start(&container(1, 1));
    node.start(&container(1, 2));
    assert_eq!(node.value(&container(1, 1)), Group, "either of them");
    node.apply(&asked(both().running("app", 1).running("proxy", 2)));
    assert_eq!(node.value(&container(1, 1)), Process);
    assert_eq!(node.value(&container(1, 2)), Group);
    assert_eq!(node.said().len(), 1);
}

#[test]
fn a_static_pod_is_found_by_its_hash() {
    let mut mirror = pod("etcd", 1).mirror_of(7);
    mirror.0["metadata"]["annotations"][ANNOTATION] = json!("0");
    let path = format!("kubepods/pod{}/{}", config_hash(7), container_id(1));
    let mut node = Node::new();
    node.start(&path);
    node.apply(&mirror);
    assert_eq!(node.value(&path), Process);
}

#[test]
fn a_cgroup_without_the_file_is_tried_again_until_it_is_there() {
    let mut node = Node::new();
    node.apply(&cart());
    node.make(&pod_path(1));
    node.settle();
    let cgroup = node.path(&container(1, 1));
    fs::create_dir(&cgroup).unwrap();
    node.settle();
    let due = node.keeper.next_tick().unwrap();
    assert_eq!(due, node.now + RETRIES[0]);
    fs::write(file::path(&cgroup), "1").unwrap();
    node.now = due;
    node.keeper.tick(node.now);
    assert_eq!(node.value(&container(1, 1)), Process);
    // It is watched now.
    node.write(&container(1, 1), Group);
    node.settle();
    assert_eq!(node.value(&container(1, 1)), Process);
}

#[test]
fn what_no_watch_told_of_is_found_in_the_end() {
    let mut node = Node::new();
    node.apply(&cart());
    // Deep below what is watched, and all at once.
    let path = format!(
        "kubepods.slice/b.slice/kubepods-pod{}.slice/cri-containerd-{}.scope",
        uid(1).replace('-', "_"),
        container_id(1)
    );
    node.make(&path);
    node.write(&path, Group);
    node.now += RESYNC;
    node.keeper.tick(node.now);
    assert_eq!(node.value(&path), Process);
    let next = path.replace(&container_id(1), &container_id(2));
    node.start(&next);
    assert_eq!(node.value(&next), Process, "from now on it is told of");
}

#[test]
fn pods_are_told_once() {
    let mut node = Node::new();
    let wrong = json!({ANNOTATION: "0", format!("{ANNOTATION}.app"): "yes"});
    let cart = annotated(pod("cart", 1), &wrong);
    for _ in 0..3 {
        node.apply(&cart);
    }
    assert_eq!(node.said().len(), 1);
    let running = annotated(pod("cart", 1).running("app", 1), &wrong);
    for _ in 0..3 {
        node.start(&container(1, 1));
        node.apply(&running);
        node.remove(&container(1, 1));
    }
    let said = node.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("container app is 0"), "{said:?}");
    let state: Value = serde_json::from_str(&node.keeper.to_json("n")).unwrap();
    assert_eq!(
        state["refused"][0]["annotation"],
        format!("{ANNOTATION}.app")
    );
    assert_eq!(state["refused"][0]["value"], "yes");
}

#[test]
fn on_v1_there_is_nothing_to_set_and_the_pod_is_told() {
    let root = tempfile::tempdir().unwrap();
    let mut keeper = keeper(root.path(), Hierarchy::Hybrid);
    let now = Instant::now();
    for _ in 0..2 {
        keeper.on_pods(PodEvent::Applied(object(&cart())), now);
        keeper.on_pods(PodEvent::Applied(object(&pod("db", 2))), now);
        keeper.on_pods(PodEvent::Synced { listed: true }, now);
    }
    let said: Vec<_> = keeper.take_notices().iter().map(Notice::note).collect();
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("cgroup v1"), "{said:?}");
    assert_eq!(keeper.next_tick(), None);
    let state: Value = serde_json::from_str(&keeper.to_json("n")).unwrap();
    assert_eq!(state["supported"], false);
    assert_eq!(state["containers"], json!([]));
}

#[test]
fn the_state_names_what_is_held_and_for_whom() {
    let mut node = Node::new();
    node.apply(&cart().running("app", 1));
    node.start(&container(1, 1));
    node.start(&container(1, 9));
    let state: Value = serde_json::from_str(&node.keeper.to_json("node-1")).unwrap();
    assert_eq!(state["node"], "node-1");
    let containers = state["containers"].as_array().unwrap();
    let named = containers
        .iter()
        .find(|run| run["container"] == "app")
        .unwrap();
    assert_eq!(named["namespace"], "shop");
    assert_eq!(named["container_id"], container_id(1));
    assert_eq!(
        (&named["wanted"], &named["held"]),
        (&json!("0"), &json!(true))
    );
    let cgroup = &named["cgroups"][0];
    assert_eq!(cgroup["path"], format!("/{}", container(1, 1)));
    assert_eq!(
        (&cgroup["value"], &cgroup["original"]),
        (&json!("0"), &json!("1"))
    );
    let sandbox = containers
        .iter()
        .find(|run| run["container_id"] == container_id(9));
    assert_eq!(sandbox.unwrap().get("container"), None);

    let (metrics, registry) = Metrics::new();
    node.keeper.metrics = metrics;
    node.keeper.refresh();
    let body = encode(&registry, Format::Text, Encoding::Identity);
    let text = String::from_utf8(body.unwrap().to_vec()).unwrap();
    let info: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("oom_probe_oom_group_info{"))
        .collect();
    assert_eq!(
        info,
        [r#"oom_probe_oom_group_info{namespace="shop",pod="cart",container="app",value="0"} 1"#]
    );
}
