//! The cases that must come out right, from the API server to the series and the Event: exactly one
//! count on the right series, and none on any other.

use capture::model::{
    kill::{Domain, Kill, PidNamespace},
    labels::Role,
};

use super::{
    apiserver::{
        ApiServer,
        pods::{PodJson, config_hash, container_id, container_path, pod, uid},
    },
    node::{Node, kill_in},
};

fn path(pod: u32, container: u32) -> String {
    container_path(&uid(pod), container)
}

/// A kill of the container's process with that pid, in an event of that name.
fn kill(path: &str, pid: u32, event: &str) -> Kill {
    let mut kill = kill_in(path);
    kill.id = format!("3b8a1c9e-{event}-{pid}");
    kill.event = event.to_owned();
    kill.victim.ns_pid = Some(pid);
    kill.victim.pid_ns = Some(PidNamespace {
        level: 1,
        inum: 4_026_532_000,
    });
    kill
}

fn group_kill(path: &str, pid: u32, event: &str) -> Kill {
    let mut kill = kill(path, pid, event);
    kill.role = if pid == 2 { Role::Primary } else { Role::Group };
    kill.domain = Some(Domain {
        path: None,
        usage_bytes: None,
        limit_bytes: None,
        group: Some(true),
        group_path: Some(path.parse().unwrap()),
    });
    kill
}

async fn node_with(pods: &[&PodJson]) -> (ApiServer, Node) {
    let server = ApiServer::start();
    for pod in pods {
        server.apply(pod);
    }
    let mut node = Node::start(&server).await;
    node.until_synced().await;
    (server, node)
}

fn kills(pod: &str, container: &str, count: u32) -> String {
    format!(
        r#"container_oom_kills_total{{namespace="shop",pod="{pod}",container="{container}"}} {count}"#
    )
}

fn events(pod: &str, container: &str, outcome: &str, count: u32) -> String {
    format!(
        r#"container_oom_events_total{{namespace="shop",pod="{pod}",container="{container}",outcome="{outcome}"}} {count}"#
    )
}

/// Reasons and messages of the Events that the API server took.
async fn told(server: &ApiServer, node: Node) -> Vec<(String, String)> {
    node.finish_events().await;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let events = server.events();
    let told = events
        .iter()
        .map(|event| (text(&event["reason"]), text(&event["message"])));
    told.collect()
}

#[tokio::test]
async fn a_child_kill_leaves_the_pod_running() {
    let cart = pod("cart", 1)
        .container("proxy")
        .running("app", 1)
        .running("proxy", 2);
    let (server, mut node) = node_with(&[&cart, &pod("other", 2).running("app", 3)]).await;
    // The victim is in the second container.
    assert_eq!(node.on_kill(kill(&path(1, 2), 27, "e")), "live cart/proxy");
    assert_eq!(node.counted(), [kills("cart", "proxy", 1)]);
    node.look(|_| true);
    assert_eq!(
        node.counted(),
        [
            kills("cart", "proxy", 1),
            events("cart", "proxy", "survived", 1)
        ]
    );
    let told = told(&server, node).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "ProcessOOMKilled");
    assert!(
        told[0].1.contains("pid 27 in the container"),
        "{}",
        told[0].1
    );
}

#[tokio::test]
async fn a_shell_that_exits_after_its_child_survived_only_by_its_exit_code() {
    for (exit_code, outcome, reason) in [
        (0, "survived", "ProcessOOMKilled"),
        (1, "died", "OOMKilled"),
        (137, "died", "OOMKilled"),
    ] {
        let cart = pod("cart", 1).running("app", 1);
        let (server, mut node) = node_with(&[&cart]).await;
        node.on_kill(kill(&path(1, 1), 27, "e"));
        node.look(|_| false);
        assert_eq!(node.counted(), [kills("cart", "app", 1)], "{exit_code}");
        server.apply(&pod("cart", 1).terminated("app", 1, exit_code, "12:00:20"));
        node.until_ended(1).await;
        assert_eq!(
            node.counted(),
            [kills("cart", "app", 1), events("cart", "app", outcome, 1)],
            "{exit_code}"
        );
        assert_eq!(told(&server, node).await[0].0, reason, "{exit_code}");
    }
}

#[tokio::test]
async fn pid_1_is_killed_and_the_container_is_back_within_a_second() {
    let (server, mut node) = node_with(&[&pod("cart", 1).running("app", 1)]).await;
    server.apply(&pod("cart", 1).restarted("app", 2, 1, "12:00:20"));
    node.until_run(2).await;
    // The record is read when the status tells of the next run already.
    assert_eq!(
        node.on_kill(kill(&path(1, 1), 1, "e")),
        "tombstone cart/app"
    );
    assert_eq!(
        node.counted(),
        [kills("cart", "app", 1), events("cart", "app", "died", 1)]
    );
    let told = told(&server, node).await;
    assert_eq!(told[0].0, "OOMKilled");
    assert!(
        told[0].1.contains("the main process python3"),
        "{}",
        told[0].1
    );
}

#[tokio::test]
async fn a_group_kill_is_one_event_and_that_of_the_next_child_another() {
    let (server, mut node) = node_with(&[&pod("cart", 1).running("app", 1)]).await;
    for pid in [2, 1, 3, 4, 5, 6, 7, 8] {
        assert_eq!(
            node.on_kill(group_kill(&path(1, 1), pid, "e")),
            "live cart/app"
        );
    }
    assert_eq!(
        node.counted(),
        [kills("cart", "app", 8), events("cart", "app", "died", 1)]
    );
    server.apply(&pod("cart", 1).restarted("app", 2, 1, "12:00:20"));
    node.until_run(2).await;
    assert_eq!(node.on_kill(kill(&path(1, 2), 9, "f")), "live cart/app");
    node.look(|_| true);
    assert_eq!(
        node.counted(),
        [
            kills("cart", "app", 9),
            events("cart", "app", "survived", 1),
            events("cart", "app", "died", 1),
        ]
    );
    let told = told(&server, node).await;
    assert_eq!(told.len(), 1, "the second comes five minutes later");
    assert!(
        told[0].1.contains("and 7 more processes of this container"),
        "{}",
        told[0].1
    );
}

#[tokio::test]
async fn one_event_that_takes_two_containers_counts_on_each() {
    let cart = pod("cart", 1)
        .container("proxy")
        .running("app", 1)
        .running("proxy", 2);
    let (server, mut node) = node_with(&[&cart]).await;
    node.on_kill(kill(&path(1, 1), 1, "e"));
    node.on_kill(kill(&path(1, 2), 27, "e"));
    node.look(|_| true);
    assert_eq!(
        node.counted(),
        [
            kills("cart", "app", 1),
            kills("cart", "proxy", 1),
            events("cart", "app", "died", 1),
            events("cart", "proxy", "survived", 1),
        ]
    );
    assert_eq!(told(&server, node).await.len(), 2);
}

#[tokio::test]
async fn every_kind_of_container_has_its_own_series() {
    let cart = pod("cart", 1)
        .init("migrate")
        .sidecar("mesh")
        .ephemeral("debug")
        .running("app", 1)
        .running("migrate", 2)
        .running("mesh", 3)
        .running("debug", 4);
    let etcd = pod("etcd", 2).mirror_of(7).running("app", 5);
    let (server, mut node) = node_with(&[&cart, &etcd]).await;
    for (n, (path, found)) in [
        (path(1, 2), "live cart/migrate"),
        (path(1, 3), "live cart/mesh"),
        (path(1, 4), "live cart/debug"),
        (container_path(&config_hash(7), 5), "live etcd/app"),
        (
            format!("/kubepods/burstable/pod{}", uid(1)),
            "live cart/POD",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(node.on_kill(kill(&path, 27, &format!("e{n}"))), found);
    }
    node.look(|_| true);
    let counted = node.counted();
    for (pod, container) in [
        ("cart", "migrate"),
        ("cart", "mesh"),
        ("cart", "debug"),
        ("etcd", "app"),
        ("cart", "POD"),
    ] {
        assert!(
            counted.contains(&kills(pod, container, 1)),
            "{container}: {counted:#?}"
        );
        let event = events(pod, container, "survived", 1);
        assert!(counted.contains(&event), "{container}: {counted:#?}");
    }
    node.finish_events().await;
    let mut subjects: Vec<_> = server
        .events()
        .iter()
        .map(|event| {
            let object = &event["involvedObject"];
            format!("{} {}", object["uid"], object["fieldPath"])
        })
        .collect();
    subjects.sort();
    let mut expected = [
        format!("\"{}\" null", uid(1)),
        format!("\"{}\" \"spec.ephemeralContainers{{debug}}\"", uid(1)),
        format!("\"{}\" \"spec.initContainers{{mesh}}\"", uid(1)),
        format!("\"{}\" \"spec.initContainers{{migrate}}\"", uid(1)),
        format!("\"{}\" \"spec.containers{{app}}\"", config_hash(7)),
    ];
    expected.sort();
    assert_eq!(subjects, expected);
}

#[tokio::test]
async fn a_pod_that_lives_for_two_seconds_is_counted() {
    let (server, mut node) = node_with(&[]).await;
    assert_eq!(node.on_kill(kill(&path(1, 1), 1, "e")), "parked");
    let job = || pod("backup-x7k2p", 1).owned("Job", "backup");
    server.apply(&job().phase("Pending"));
    server.apply(&job().terminated("app", 1, 137, "12:00:02").phase("Failed"));
    server.delete(&job().terminated("app", 1, 137, "12:00:02").phase("Failed"));
    node.until("the parked kill", |node| !node.records.is_empty())
        .await;
    assert_eq!(node.late(), ["late backup-x7k2p/app"]);
    node.until_pods(&[]).await;
    let workload = r#"workload_oom_events_total{namespace="shop",workload_type="job",workload="backup",container="app",outcome="died"} 1"#;
    assert_eq!(
        node.counted(),
        [
            kills("backup-x7k2p", "app", 1),
            events("backup-x7k2p", "app", "died", 1),
            workload.to_owned(),
        ]
    );
    assert_eq!(told(&server, node).await.len(), 1);
}

#[tokio::test]
async fn a_deployments_pods_count_on_one_workload() {
    let cart = |n: u32| {
        let cart = pod(&format!("cart-7d9f8b6c5d-{n}"), n).of_deployment("cart");
        cart.running("app", n)
    };
    let (server, mut node) = node_with(&[&cart(1), &cart(2), &cart(3)]).await;
    for n in 1..=3 {
        node.on_kill(kill(&path(n, n), 27, &format!("e{n}")));
    }
    server.apply(&cart(3).terminated("app", 3, 1, "12:00:20"));
    node.until_ended(3).await;
    node.look(|cgroup| !cgroup.contains(&container_id(3)));
    let workload = |outcome, count| {
        format!(
            r#"workload_oom_events_total{{namespace="shop",workload_type="deployment",workload="cart",container="app",outcome="{outcome}"}} {count}"#
        )
    };
    let counted = node.counted();
    assert!(counted.contains(&workload("survived", 2)), "{counted:#?}");
    assert!(counted.contains(&workload("died", 1)), "{counted:#?}");
}

#[tokio::test]
async fn kills_of_nobody_known_are_on_no_series() {
    let (server, mut node) = node_with(&[&pod("cart", 1).running("app", 1)]).await;
    assert_eq!(node.kill("/system.slice/nginx.service"), "host ?/?");
    assert_eq!(node.kill(&path(9, 9)), "parked");
    node.look(|_| true);
    assert!(node.counted().is_empty());
    assert!(told(&server, node).await.is_empty());
}
