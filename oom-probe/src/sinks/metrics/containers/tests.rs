use std::collections::BTreeMap;

use crate::{
    attribution::{
        attributor::{Attributor, Config, Decision},
        fixture::kill_in,
    },
    http::exposition::{self, Encoding, Format},
    kube::{
        PodEvent,
        fixture::{PodJson, container_path, pod, uid},
    },
};
use capture::cgroup::node::NodeCgroups;
use jiff::SignedDuration;
use prometheus_client::registry::Registry;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A node's pods and series, fed as the daemon feeds them.
struct Node {
    attributor: Attributor,
    containers: Containers,
    refused: Counter,
    registry: Registry,
    now: Instant,
}

impl Node {
    fn new(max: usize) -> Self {
        let refused = Counter::default();
        let containers = Containers::new(SERIES_TTL, max, refused.clone());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(containers.clone()));
        let config = Config {
            kubernetes: true,
            node: NodeCgroups::default(),
        };
        Self {
            attributor: Attributor::new(config),
            containers,
            refused,
            registry,
            now: Instant::now(),
        }
    }

    fn with(pods: &[PodJson]) -> Self {
        let mut node = Self::new(MAX_CONTAINERS);
        for pod in pods {
            node.apply(pod);
        }
        node
    }

    fn tell(&mut self, event: PodEvent) {
        let change = self.attributor.on_pods(event, self.now);
        if let Some(pod) = &change.applied {
            self.containers.apply(pod, self.now);
        }
        for pod in &change.gone {
            self.containers.remove(pod, self.now);
        }
    }

    fn apply(&mut self, pod: &PodJson) {
        self.tell(PodEvent::Applied(object(pod)));
    }

    fn delete(&mut self, pod: &PodJson) {
        self.tell(PodEvent::Deleted(object(pod)));
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.containers.tick(self.now);
    }

    /// A kill in a container of pod `n`, and its outcome.
    fn kill(&mut self, n: u32, container: u32, outcome: Outcome) {
        self.kill_at(&container_path(&uid(n), container), outcome);
    }

    fn kill_at(&mut self, path: &str, outcome: Outcome) {
        let Decision::Record(kill) = self.attributor.on_kill(kill_in(path), self.now) else {
            panic!("{path} is not known");
        };
        self.containers.on_kill(&kill, self.now);
        let settled = Settled {
            outcome,
            kill,
            kills: 1,
        };
        self.containers.on_settled(&settled, self.now);
    }

    fn text(&self) -> String {
        let body = exposition::encode(&self.registry, Format::Text, Encoding::Identity).unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// All series of a metric, without its name.
    fn series(&self, metric: &str) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter_map(|line| {
            let labels = line.strip_prefix(metric)?;
            labels.starts_with('{').then(|| labels.to_owned())
        });
        lines.collect()
    }

    /// Value of `pod/container` on `kills_total`, in the order of the exposition.
    fn kills(&self) -> String {
        let series = self.series("oom_probe_container_oom_kills_total");
        let shown = series.iter().map(|line| {
            let label = |name| {
                let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap();
                rest.split_once('"').unwrap().0.to_owned()
            };
            let value = line.rsplit_once(' ').unwrap().1;
            format!("{}/{}={value}", label("pod"), label("container"))
        });
        shown.collect::<Vec<_>>().join(" ")
    }
}

fn object(pod: &PodJson) -> Box<crate::kube::object::Pod> {
    serde_json::from_value(pod.0.clone()).unwrap()
}

#[test]
fn the_contract_of_names_labels_and_values() {
    let cart = pod("cart-7d9f8b6c5d-x2x9z", 1)
        .of_deployment("cart")
        .running("app", 1);
    let mut node = Node::with(&[cart]);
    let at_rest = node.text();
    node.kill(1, 1, Outcome::Survived);
    let hit = node.text();
    let labels = r#"namespace="shop",pod="cart-7d9f8b6c5d-x2x9z",container="app""#;
    let workload = r#"namespace="shop",workload_type="deployment",workload="cart",container="app""#;
    for outcome in ["survived", "died"] {
        for line in [
            format!("oom_probe_container_oom_events_total{{{labels},outcome=\"{outcome}\"}} 0"),
            format!("oom_probe_workload_oom_events_total{{{workload},outcome=\"{outcome}\"}} 0"),
        ] {
            assert!(at_rest.contains(&line), "{line}\n{at_rest}");
        }
    }
    assert!(at_rest.contains(&format!(
        "oom_probe_container_oom_kills_total{{{labels}}} 0\n"
    )));
    assert!(!at_rest.contains("last_oom"), "{at_rest}");

    for line in [
        format!("oom_probe_container_oom_kills_total{{{labels}}} 1"),
        format!("oom_probe_container_oom_events_total{{{labels},outcome=\"survived\"}} 1"),
        format!("oom_probe_container_oom_events_total{{{labels},outcome=\"died\"}} 0"),
        format!("oom_probe_workload_oom_events_total{{{workload},outcome=\"survived\"}} 1"),
        format!("oom_probe_workload_oom_events_total{{{workload},outcome=\"died\"}} 0"),
        format!(
            "oom_probe_container_last_oom_event_timestamp_seconds{{{labels},outcome=\"survived\"}} 1763640224.120456"
        ),
        format!("oom_probe_container_last_oom_kill_rss_bytes{{{labels},type=\"anon\"}} 242640486"),
        format!("oom_probe_container_last_oom_kill_rss_bytes{{{labels},type=\"file\"}} 4096"),
        format!("oom_probe_container_last_oom_kill_rss_bytes{{{labels},type=\"shmem\"}} 0"),
        format!("oom_probe_container_last_oom_kill_usage_bytes{{{labels}}} 268435456"),
        format!("oom_probe_container_last_oom_kill_limit_bytes{{{labels}}} 268435456"),
        "# TYPE oom_probe_container_oom_kills_total counter".to_owned(),
        "# TYPE oom_probe_container_last_oom_kill_limit_bytes gauge".to_owned(),
    ] {
        assert!(
            hit.lines().any(|found| found.starts_with(&line)),
            "{line}\n{hit}"
        );
    }
    let died = format!("timestamp_seconds{{{labels},outcome=\"died\"}}");
    assert!(
        !hit.contains(&died),
        "only outcomes that happened have a time"
    );
}

#[test]
fn each_kind_of_container_is_shown_in_its_time() {
    let cart = || {
        pod("cart", 1)
            .init("migrate")
            .sidecar("mesh")
            .ephemeral("debug")
            .running("debug", 5)
    };
    let mut node = Node::with(&[cart().phase("Pending")]);
    assert_eq!(node.kills(), "cart/app=0 cart/mesh=0 cart/migrate=0");
    node.apply(&cart().terminated("migrate", 3, 0, "12:00:05"));
    assert_eq!(node.kills(), "cart/app=0 cart/mesh=0");
    node.kill(1, 5, Outcome::Died);
    node.kill_at(&format!("/kubepods/pod{}", uid(1)), Outcome::Survived);
    assert_eq!(
        node.kills(),
        "cart/POD=1 cart/app=0 cart/debug=1 cart/mesh=0"
    );
    node.wait(SERIES_TTL * 2);
    assert_eq!(
        node.kills(),
        "cart/POD=1 cart/app=0 cart/debug=1 cart/mesh=0",
        "with their pod"
    );
    for phase in ["Succeeded", "Failed"] {
        node.apply(&cart().phase(phase));
        assert_eq!(node.kills(), "cart/POD=1 cart/debug=1", "{phase}");
    }
    node.wait(SERIES_TTL);
    assert_eq!(node.kills(), "");
}

#[test]
fn an_init_container_that_was_hit_stays_for_its_time() {
    let job = || pod("job", 1).init("load");
    let mut node = Node::with(&[job().running("load", 1)]);
    node.kill(1, 1, Outcome::Died);
    node.apply(&job().restarted("load", 2, 1, "12:01:00"));
    node.apply(&job().terminated("load", 2, 0, "12:02:00"));
    assert_eq!(node.kills(), "job/app=0 job/load=1");
    node.wait(SERIES_TTL);
    assert_eq!(node.kills(), "job/app=0");
}

#[test]
fn a_zero_goes_with_its_pod_and_what_counted_stays_for_its_time() {
    let (cart, other) = (pod("cart", 1).running("app", 1), pod("other", 2));
    let mut node = Node::with(&[cart.clone(), other.clone()]);
    node.kill(1, 1, Outcome::Survived);
    node.delete(&cart);
    node.delete(&other);
    assert_eq!(node.kills(), "cart/app=1");
    node.wait(SERIES_TTL - MINUTE);
    assert_eq!(node.kills(), "cart/app=1");
    node.wait(MINUTE);
    assert_eq!(node.kills(), "");
}

#[test]
fn a_kill_read_after_its_pod_went_still_counts() {
    let cart = pod("cart", 1).running("app", 1);
    let mut node = Node::with(std::slice::from_ref(&cart));
    node.delete(&cart);
    assert_eq!(node.kills(), "");
    node.kill(1, 1, Outcome::Died);
    assert_eq!(node.kills(), "cart/app=1");
    node.wait(SERIES_TTL);
    assert_eq!(node.kills(), "");
}

#[test]
fn a_pod_that_comes_back_under_its_name_goes_on_counting() {
    let (old, new) = (
        pod("db-0", 1).running("app", 1),
        pod("db-0", 2).running("app", 2),
    );
    // Whichever the watch tells first.
    for told in [[true, false], [false, true]] {
        let mut node = Node::with(std::slice::from_ref(&old));
        node.kill(1, 1, Outcome::Died);
        for deleted in told {
            if deleted {
                node.delete(&old);
            } else {
                node.apply(&new);
            }
        }
        node.kill(2, 2, Outcome::Died);
        assert_eq!(node.kills(), "db-0/app=2");
        node.wait(SERIES_TTL * 2);
        assert_eq!(node.kills(), "db-0/app=2");
    }
}

#[test]
fn a_workload_outlives_its_last_pod_here_by_a_day() {
    let cart = |n: u32| {
        let cart = pod(&format!("cart-{n}"), n).of_deployment("cart");
        cart.running("app", n)
    };
    let mut node = Node::with(&[cart(1), cart(2)]);
    let series = |node: &Node| {
        let mut values = BTreeMap::new();
        for line in node.series("oom_probe_workload_oom_events_total") {
            let (labels, value) = line.rsplit_once(' ').unwrap();
            let outcome = labels.rsplit('"').nth(1).unwrap().to_owned();
            values.insert(outcome, value.to_owned());
        }
        values
            .into_iter()
            .map(|(k, v)| k + &v)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(series(&node), "died0 survived0");
    node.kill(1, 1, Outcome::Survived);
    node.kill(2, 2, Outcome::Survived);
    assert_eq!(series(&node), "died0 survived2");
    node.delete(&cart(1));
    node.wait(WORKLOAD_TTL * 2);
    assert_eq!(series(&node), "died0 survived2", "it has a pod here");
    node.delete(&cart(2));
    node.wait(WORKLOAD_TTL - MINUTE);
    node.apply(&cart(3));
    node.delete(&cart(3));
    node.wait(WORKLOAD_TTL - MINUTE);
    assert_eq!(series(&node), "died0 survived2");
    node.wait(MINUTE);
    assert_eq!(series(&node), "");
}

#[test]
fn the_time_of_the_last_event_never_goes_back() {
    let mut node = Node::with(&[pod("cart", 1).running("app", 1)]);
    node.kill(1, 1, Outcome::Died);
    let Decision::Record(mut kill) = node
        .attributor
        .on_kill(kill_in(&container_path(&uid(1), 1)), node.now)
    else {
        panic!();
    };
    kill.kill.time -= SignedDuration::from_secs(60);
    let settled = Settled {
        outcome: Outcome::Died,
        kill,
        kills: 1,
    };
    node.containers.on_settled(&settled, node.now);
    let series = node.series("oom_probe_container_last_oom_event_timestamp_seconds");
    assert_eq!(series.len(), 1);
    assert!(series[0].contains(" 1763640224.12"), "{series:?}");
}

#[test]
fn zeros_are_refused_once_and_a_kill_never() {
    let mut node = Node::new(2);
    for n in 1..=4 {
        node.apply(&pod(&format!("p{n}"), n).running("app", n));
    }
    assert_eq!(node.kills(), "p1/app=0 p2/app=0");
    node.apply(&pod("p3", 3).running("app", 3));
    assert_eq!(node.refused.get(), 2, "each once");
    node.kill(4, 4, Outcome::Survived);
    assert_eq!(node.kills(), "p2/app=0 p4/app=1");
    node.kill(3, 3, Outcome::Survived);
    assert_eq!(node.kills(), "p3/app=1 p4/app=1");
    // Room again: the next update of a refused pod shows it.
    node.delete(&pod("p4", 4));
    node.delete(&pod("p3", 3));
    node.wait(SERIES_TTL);
    node.apply(&pod("p1", 1).running("app", 1));
    assert_eq!(node.kills(), "p1/app=0");
}

#[test]
fn kills_without_a_container_are_on_no_series() {
    let mut node = Node::with(&[pod("cart", 1).container("proxy").running("app", 1)]);
    for path in [container_path(&uid(1), 9), container_path(&uid(9), 9)] {
        node.attributor.on_kill(kill_in(&path), node.now);
    }
    node.attributor
        .on_pods(PodEvent::Synced { listed: false }, node.now);
    let unresolved = node.attributor.tick(node.now + MINUTE * 60);
    assert_eq!(unresolved.len(), 2);
    for record in &unresolved {
        node.containers.on_kill(record, node.now);
    }
    assert_eq!(node.kills(), "cart/app=0 cart/proxy=0");
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let name = "evil\"} 1\noom_probe_armed 7\n# \\";
    let mut cart = pod("cart", 1);
    cart.0["metadata"]["name"] = name.into();
    let node = Node::with(&[cart]);
    let text = node.text();
    assert!(
        !text.lines().any(|line| line.starts_with("oom_probe_armed")),
        "{text}"
    );
    let series = node.series("oom_probe_container_oom_kills_total");
    assert_eq!(
        series,
        [r#"{namespace="shop",pod="evil\"} 1\noom_probe_armed 7\n# \\",container="app"} 0"#]
    );
}

#[test]
fn without_pods_there_is_no_family() {
    assert_eq!(Node::with(&[]).text(), "");
}
