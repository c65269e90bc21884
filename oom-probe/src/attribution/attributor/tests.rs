mod waiting;

use crate::{
    attribution::fixture::kill_in,
    kube::{
        fixture::{PodJson, config_hash, container_id, container_path, pod, uid},
        index, object,
    },
};
use capture::{
    cgroup::{kubepods::Kubepods, node::NodeCgroups},
    model::{
        kill::{Cgroup, PodRef},
        labels::VictimKind,
    },
};
use std::time::Duration;

use super::*;

/// An attributor that is asked as the daemon asks it.
struct Node {
    attributor: Attributor,
    now: Instant,
}

impl Node {
    /// With these pods listed.
    fn with(pods: &[PodJson]) -> Self {
        let mut node = Self::unsynced();
        node.list(pods);
        node
    }

    /// Before the first list.
    fn unsynced() -> Self {
        let config = Config {
            kubernetes: true,
            node: NodeCgroups::default(),
        };
        Self {
            attributor: Attributor::new(config),
            now: Instant::now(),
        }
    }

    fn list(&mut self, pods: &[PodJson]) -> Vec<Record> {
        let mut records = self.tell(PodEvent::ListStarts);
        for pod in pods {
            records.extend(self.tell(PodEvent::Listed(object(pod))));
        }
        records.extend(self.tell(PodEvent::Synced { listed: true }));
        records
    }

    fn tell(&mut self, event: PodEvent) -> Vec<Record> {
        self.attributor.on_pods(event, self.now).records
    }

    fn apply(&mut self, pod: &PodJson) -> Vec<Record> {
        self.tell(PodEvent::Applied(object(pod)))
    }

    fn delete(&mut self, pod: &PodJson) -> Vec<Record> {
        self.tell(PodEvent::Deleted(object(pod)))
    }

    fn wait(&mut self, duration: Duration) -> Vec<Record> {
        self.now += duration;
        self.attributor.tick(self.now)
    }

    fn kill(&mut self, kill: Kill) -> Decision {
        self.attributor.on_kill(kill, self.now)
    }

    /// A kill that has to be decided at once.
    fn decided(&mut self, path: &str) -> Record {
        match self.kill(kill_in(path)) {
            Decision::Record(record) => *record,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn parked(&mut self, path: &str) {
        let decision = self.kill(kill_in(path));
        assert!(
            matches!(
                decision,
                Decision::Parked {
                    scope: Scope::Pod,
                    displaced: None,
                    ..
                }
            ),
            "{path}: {decision:?}"
        );
    }
}

fn object(pod: &PodJson) -> Box<object::Pod> {
    serde_json::from_value(pod.0.clone()).unwrap()
}

fn path(pod: u32, container: u32) -> String {
    container_path(&uid(pod), container)
}

/// `attribution namespace/pod/container`, `?` for what is not known.
fn shown(record: &Record) -> String {
    let pod = record.pod.as_ref();
    let part = |part: fn(&PodRef) -> &Option<String>| {
        pod.and_then(|pod| part(pod).clone())
            .unwrap_or_else(|| "?".to_owned())
    };
    let (namespace, name) = (part(|pod| &pod.namespace), part(|pod| &pod.name));
    format!(
        "{} {namespace}/{name}/{}",
        record.attribution,
        part(|pod| &pod.container)
    )
}

fn all(records: &[Record]) -> Vec<String> {
    records.iter().map(shown).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_kill_in_a_known_container_is_live() {
    let cart = pod("cart", 1)
        .container("proxy")
        .init("migrate")
        .sidecar("mesh")
        .ephemeral("debug")
        .running("app", 1)
        .running("proxy", 2)
        .running("migrate", 3)
        .running("mesh", 4)
        .running("debug", 5);
    let mut node = Node::with(&[cart, pod("other", 2).running("app", 6)]);
    for (path, expected) in [
        (path(1, 1), "live shop/cart/app"),
        (path(1, 2), "live shop/cart/proxy"),
        (path(1, 3), "live shop/cart/migrate"),
        (path(1, 4), "live shop/cart/mesh"),
        (path(1, 5), "live shop/cart/debug"),
        (path(2, 6), "live shop/other/app"),
        (path(1, 1) + "/nested/deeper", "live shop/cart/app"),
        (
            format!("/kubepods/burstable/pod{}", uid(1)),
            "live shop/cart/POD",
        ),
    ] {
        assert_eq!(shown(&node.decided(&path)), expected, "{path}");
    }
}

#[test]
fn a_record_says_all_that_is_known_of_the_pod() {
    let cart = pod("cart-7d9f8b6c5d-x2x9z", 1)
        .of_deployment("cart")
        .running("app", 1);
    let record = Node::with(&[cart]).decided(&path(1, 1));
    assert_eq!(record.scope, Scope::Pod);
    assert_eq!(record.host, None);
    let pod = serde_json::to_value(record.pod).unwrap();
    assert_eq!(
        pod,
        serde_json::json!({
            "namespace": "shop", "name": "cart-7d9f8b6c5d-x2x9z", "uid": uid(1),
            "container": "app", "container_id": container_id(1), "image": "registry/app:1",
            "qos": "Burstable", "workload": {"kind": "Deployment", "name": "cart"},
        })
    );
}

#[test]
fn a_static_pod_is_named_by_its_mirror() {
    let mirror = pod("etcd-node-1", 1).mirror_of(7).running("app", 1);
    let mut node = Node::with(&[mirror]);
    let record = node.decided(&container_path(&config_hash(7), 1));
    assert_eq!(shown(&record), "live shop/etcd-node-1/app");
    assert_eq!(record.pod.unwrap().workload.unwrap().kind, "Node");
}

#[test]
fn a_kill_read_after_its_pod_was_deleted_finds_the_tombstone() {
    let cart = pod("cart", 1).running("app", 1);
    let mut node = Node::with(std::slice::from_ref(&cart));
    node.delete(&cart);
    assert_eq!(shown(&node.decided(&path(1, 1))), "tombstone shop/cart/app");
    node.wait(index::GRACE);
    node.parked(&path(1, 1));
}

#[test]
fn a_kill_read_after_its_container_was_started_anew_finds_the_tombstone() {
    let mut node = Node::with(&[pod("cart", 1).running("app", 1)]);
    node.apply(&pod("cart", 1).restarted("app", 2, 1, "12:01:00"));
    assert_eq!(shown(&node.decided(&path(1, 1))), "tombstone shop/cart/app");
    assert_eq!(shown(&node.decided(&path(1, 2))), "live shop/cart/app");
}

#[test]
fn a_container_that_ended_but_was_not_replaced_is_live() {
    let ended = pod("job", 1)
        .terminated("app", 1, 137, "12:01:00")
        .phase("Failed");
    assert_eq!(
        shown(&Node::with(&[ended]).decided(&path(1, 1))),
        "live shop/job/app"
    );
}

#[test]
fn outside_kubernetes_a_kill_is_the_hosts() {
    let id = container_id(1);
    let mut node = Node::with(&[]);
    for (path, unit, container) in [
        (
            "/system.slice/nginx.service".to_owned(),
            Some("nginx.service"),
            None,
        ),
        (format!("/docker/{id}"), None, Some(id.clone())),
        ("/".to_owned(), None, None),
    ] {
        let record = node.decided(&path);
        assert_eq!(record.scope, Scope::Host, "{path}");
        assert_eq!(record.attribution, Attribution::Host, "{path}");
        assert_eq!(record.pod, None, "{path}");
        let host = record.host.unwrap();
        assert_eq!(
            (host.unit.as_deref(), host.container_id),
            (unit, container),
            "{path}"
        );
    }
}

#[test]
fn without_kubernetes_the_path_is_all_there_is_and_nothing_waits() {
    let mut attributor = Attributor::new(Config::default());
    let Decision::Record(record) = attributor.on_kill(kill_in(&path(1, 1)), Instant::now()) else {
        panic!("it waits for nobody");
    };
    assert_eq!(shown(&record), "unresolved ?/?/?");
    assert_eq!(record.pod.unwrap().container_id, Some(container_id(1)));
}

#[test]
fn a_kill_whose_cgroup_is_not_known_is_nobodys() {
    let mut kill = kill_in(&path(1, 1));
    (kill.cgroup, kill.identity) = (None, Default::default());
    let mut ids_only = kill_in("/");
    ids_only.cgroup = ids_only.cgroup.map(|cgroup| Cgroup {
        path: None,
        ..cgroup
    });
    for kill in [kill, ids_only] {
        let Decision::Record(record) = Node::with(&[]).kill(kill) else {
            panic!("there is nothing to wait for");
        };
        assert_eq!(
            (record.scope, record.attribution),
            (Scope::Unknown, Attribution::Unresolved)
        );
        assert_eq!((record.pod, record.host), (None, None));
    }
}

#[test]
fn two_nodes_on_one_kernel_each_take_their_own_kills() {
    // A node that runs in a pod of another cluster; its own root is the cgroup 105.
    let node = format!("/kubepods/pod{}/{}", uid(7), container_id(9));
    let path = format!("{node}/kubelet{}", path(1, 1));
    let kill = || kill_in(&path);
    let attributor = |root| {
        let config = Config {
            kubernetes: true,
            node: NodeCgroups {
                root: Some(root),
                kubepods: Kubepods::below(vec!["/kubelet/kubepods".parse().unwrap()]),
            },
        };
        let mut attributor = Attributor::new(config);
        let cart = PodEvent::Listed(object(&pod("cart", 1).running("app", 1)));
        attributor.on_pods(cart, Instant::now());
        attributor
    };
    let Decision::Record(record) = attributor(105).on_kill(kill(), Instant::now()) else {
        panic!("it is this node's");
    };
    assert_eq!(shown(&record), "live shop/cart/app");
    let kubelet = kill_in(&format!("{node}/system.slice/kubelet.service"));
    let Decision::Record(record) = attributor(102).on_kill(kubelet, Instant::now()) else {
        panic!("it is no pod's");
    };
    assert_eq!(
        record.host.unwrap().unit.as_deref(),
        Some("kubelet.service")
    );
    let other = attributor(203).on_kill(kill(), Instant::now());
    assert!(matches!(other, Decision::OtherNode(_)), "{other:?}");

    // Where the record had no room for the node's root nothing can be said.
    let mut cut = kill();
    cut.truncated = true;
    assert_eq!(cut.scope(Some(203)), Scope::Unknown);
    assert_eq!(cut.scope(Some(105)), Scope::Pod);
    // Names are missing that decide it.
    cut.identity.undecided = true;
    assert_eq!(cut.scope(None), Scope::Unknown);
}

#[test]
fn the_victims_kind_comes_with_the_pod() {
    let mut node = Node::with(&[
        pod("own", 1).running("app", 1),
        pod("shared", 2)
            .spec("shareProcessNamespace", true.into())
            .running("app", 2),
    ]);
    for (path, expected) in [
        (path(1, 1), VictimKind::Child),
        (path(2, 2), VictimKind::Unknown),
        (
            "/system.slice/nginx.service".to_owned(),
            VictimKind::Unknown,
        ),
    ] {
        let mut kill = kill_in(&path);
        kill.victim.ns_pid = Some(27);
        kill.victim.pid_ns = Some(capture::model::kill::PidNamespace { level: 1, inum: 7 });
        let Decision::Record(record) = node.kill(kill) else {
            panic!("{path}");
        };
        assert_eq!(record.kill.victim.kind, expected, "{path}");
    }
}

#[test]
fn two_hundred_and_fifty_pods_with_three_containers_each_are_all_told_apart() {
    let pods: Vec<_> = (0..250)
        .map(|n| {
            pod(&format!("p{n}"), n)
                .container("b")
                .container("c")
                .running("app", 3 * n)
                .running("b", 3 * n + 1)
                .running("c", 3 * n + 2)
        })
        .collect();
    let mut node = Node::with(&pods);
    for n in 0..250 {
        for (at, container) in ["app", "b", "c"].into_iter().enumerate() {
            let id = 3 * n + u32::try_from(at).unwrap();
            assert_eq!(
                shown(&node.decided(&path(n, id))),
                format!("live shop/p{n}/{container}")
            );
        }
    }
}

#[test]
fn a_refused_pod_is_reported_and_loses_nothing() {
    let mut node = Node::with(&[pod("cart", 1).running("app", 1)]);
    let mut bad = pod("bad", 2);
    bad.0["metadata"]["uid"] = "none".into();
    for (after, told) in [(0, true), (1, false), (599, false), (600, true)] {
        let now = node.now + SECOND * after;
        let change = node
            .attributor
            .on_pods(PodEvent::Applied(object(&bad)), now);
        assert_eq!(change.refused.is_some(), told, "after {after} s");
        assert!(change.applied.is_none());
    }
    assert_eq!(shown(&node.decided(&path(1, 1))), "live shop/cart/app");
}
