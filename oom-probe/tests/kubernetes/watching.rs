//! An API server that works.

use super::{
    apiserver::{
        ApiServer, Call,
        pods::{config_hash, container_path, pod, uid},
    },
    node::{NODE, Node},
};

#[tokio::test]
async fn one_list_from_the_cache_and_one_watch_is_all_that_is_asked() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1).running("app", 1));
    let mut node = Node::start(&server).await;
    node.until_pods(&["cart"]).await;
    // By then it would have asked for whatever else it needs.
    server.apply(&pod("db-0", 2).running("app", 2));
    node.until_pods(&["cart", "db-0"]).await;
    let (lists, watches) = (server.requests(Call::List), server.requests(Call::Watch));
    assert_eq!((lists.len(), watches.len()), (1, 1));
    assert!(server.requests(Call::Other).is_empty());
    let expected = [
        ("fieldSelector", format!("spec.nodeName={NODE}")),
        ("resourceVersion", "0".to_owned()),
    ];
    for (name, value) in expected {
        assert_eq!(lists[0].query.get(name), Some(&value));
    }
    // A limit would make an older API server read from etcd.
    assert_eq!(lists[0].query.get("limit"), None);
    let query = &watches[0].query;
    assert_eq!(query["resourceVersion"], "1", "from where the list ended");
    assert_eq!(query["allowWatchBookmarks"], "true");
    assert_eq!(query["fieldSelector"], format!("spec.nodeName={NODE}"));
    let seconds: u32 = query["timeoutSeconds"].parse().unwrap();
    assert!((240..360).contains(&seconds));
    assert_eq!(lists[0].token.as_deref(), Some("Bearer secret"));
}

#[tokio::test]
async fn pods_come_change_and_go_as_the_watch_tells() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    let mut node = Node::start(&server).await;
    node.until_pods(&["cart"]).await;
    let path = |pod, container| container_path(&uid(pod), container);
    assert_eq!(node.kill(&path(1, 1)), "parked");
    server.apply(&pod("cart", 1).running("app", 1));
    node.until("the parked kill", |node| !node.records.is_empty())
        .await;
    assert_eq!(node.late(), ["late cart/app"]);
    assert_eq!(node.kill(&path(1, 1)), "live cart/app");

    server.apply(&pod("db-0", 2).running("app", 2));
    node.until_pods(&["cart", "db-0"]).await;
    assert_eq!(node.kill(&path(2, 2)), "live db-0/app");
    server.delete(&pod("cart", 1).running("app", 1));
    node.until_pods(&["db-0"]).await;
    assert_eq!(node.kill(&path(1, 1)), "tombstone cart/app");
}

#[tokio::test]
async fn pods_of_other_nodes_are_not_taken_even_if_they_are_sent() {
    let elsewhere = || pod("elsewhere", 2).spec("nodeName", "node-2".into());
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    server.apply(&elsewhere());
    let mut node = Node::start(&server).await;
    node.until_pods(&["cart"]).await;

    // An API server, or a proxy, that does not know field selectors.
    let body = serde_json::json!({
        "kind": "PodList", "metadata": {"resourceVersion": "7"},
        "items": [elsewhere().0, pod("db-0", 3).0],
    });
    let careless = ApiServer::start();
    careless.script(
        Call::List,
        [crate::apiserver::Answer::Body(
            body.to_string().into_bytes(),
        )],
    );
    let mut node = Node::start(&careless).await;
    node.until_pods(&["db-0"]).await;
}

#[tokio::test]
async fn kills_before_the_first_list_are_attributed_by_it() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1).running("app", 1));
    server.apply(&pod("etcd", 2).mirror_of(7).running("app", 2));
    let mut node = Node::start(&server).await;
    for path in [
        container_path(&uid(1), 1),
        container_path(&config_hash(7), 2),
        container_path(&uid(9), 9),
    ] {
        assert_eq!(node.kill(&path), "parked");
    }
    node.until_synced().await;
    assert_eq!(node.late(), ["late cart/app", "late etcd/app"]);
    assert_eq!(node.attributor.parked().count(), 1);
}

#[tokio::test]
async fn a_watch_that_ends_is_taken_up_where_it_was() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    let mut node = Node::start(&server).await;
    node.until_pods(&["cart"]).await;
    for n in 2..=5 {
        node.until_requests(&server, Call::Watch, n as usize - 1)
            .await;
        server.close_watches();
        server.apply(&pod(&format!("p{n}"), n));
        let names: Vec<_> = std::iter::once("cart".to_owned())
            .chain((2..=n).map(|n| format!("p{n}")))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        node.until_pods(&names).await;
    }
    assert_eq!(server.requests(Call::List).len(), 1);
    let versions: Vec<_> = server
        .requests(Call::Watch)
        .iter()
        .map(|request| request.query["resourceVersion"].clone())
        .collect();
    assert!(versions.is_sorted(), "{versions:?}");
    assert!(node.link().is_synced());
}

#[tokio::test]
async fn bookmarks_move_the_watch_on_without_a_change() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    let mut node = Node::start(&server).await;
    node.until_synced().await;
    node.until_requests(&server, Call::Watch, 1).await;
    for _ in 0..5 {
        server.bookmark();
    }
    server.close_watches();
    node.until_requests(&server, Call::Watch, 2).await;
    // All that came before is forgotten, and yet no list is needed.
    server.compact();
    server.close_watches();
    node.until_requests(&server, Call::Watch, 3).await;
    server.apply(&pod("db-0", 2));
    node.until_pods(&["cart", "db-0"]).await;
    for watch in &server.requests(Call::Watch)[1..3] {
        assert_eq!(watch.query["resourceVersion"], "6");
    }
    assert_eq!(server.requests(Call::List).len(), 1);
}

#[tokio::test]
async fn a_node_name_that_no_pod_has_is_told() {
    let server = ApiServer::start();
    let mut node = Node::start(&server).await;
    node.until_synced().await;
    assert_eq!(
        node.link().to_string(),
        "synced, but no pod is bound to this node's name"
    );
}

#[tokio::test]
async fn a_large_node_is_listed_whole() {
    let server = ApiServer::start();
    for n in 0..250 {
        let filler = serde_json::json!([{"manager": "kubelet", "fieldsV1": "x".repeat(10_000)}]);
        let mut pod = pod(&format!("p{n}"), n).container("b").container("c");
        pod.0["metadata"]["managedFields"] = filler;
        server.apply(
            &pod.running("app", 3 * n)
                .running("b", 3 * n + 1)
                .running("c", 3 * n + 2),
        );
    }
    let mut node = Node::start(&server).await;
    node.until_synced().await;
    assert_eq!(node.attributor.index().len(), 250);
    for n in [0, 100, 249] {
        let path = container_path(&uid(n), 3 * n + 1);
        assert_eq!(node.kill(&path), format!("live p{n}/b"));
    }
}
