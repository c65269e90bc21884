//! An API server that sends garbage, or without end: the daemon stays up, stays small, and comes
//! back when the server does.

use super::{
    apiserver::{Answer, ApiServer, Call, pods::pod},
    node::{Node, recovers_from},
};

#[tokio::test]
async fn a_list_that_is_none_is_refused() {
    for body in [
        "",
        "<html>502 Bad Gateway</html>",
        "{}",
        "[]",
        "null",
        r#"{"kind":"Status","code":500}"#,
        r#"{"kind":"PodList","metadata":{},"items":[]}"#,
        r#"{"kind":"PodList","metadata":{"resourceVersion":7},"items":[]}"#,
        r#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[{"metadata":"#,
        "\u{0}\u{1}\u{2}",
    ] {
        let away = recovers_from(Call::List, Answer::Body(body.into())).await;
        assert!(away.contains("sends what is no answer"), "{body}: {away}");
    }
}

#[tokio::test]
async fn a_watch_of_garbage_leads_to_a_new_list() {
    for body in [
        "not json\n",
        "{}\n",
        "{\"type\":\"SOMETHING\",\"object\":{}}\n",
        "{\"type\":\"BOOKMARK\"}\n",
        "{\"type\":\"ERROR\",\"object\":7}\n",
    ] {
        let away = recovers_from(Call::Watch, Answer::Body(body.into())).await;
        assert!(away.contains("sends what is no answer"), "{body}: {away}");
    }
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_is_left_out_and_the_others_are_not() {
    let mut strange = pod("strange", 2);
    strange.0["metadata"]["creationTimestamp"] = "yesterday".into();
    let mut nobody = pod("nobody", 3);
    nobody.0["metadata"]["uid"] = "none".into();
    let server = ApiServer::start();
    for pod in [&strange, &nobody, &pod("cart", 1)] {
        server.apply(pod);
    }
    let mut node = Node::start(&server).await;
    node.until_pods(&["cart"]).await;
    node.until_requests(&server, Call::Watch, 1).await;
    server.apply(&strange);
    server.apply(&nobody);
    server.apply(&pod("db-0", 4));
    node.until_pods(&["cart", "db-0"]).await;
    assert_eq!(server.requests(Call::List).len(), 1);
}

#[tokio::test]
async fn a_list_without_end_is_left_after_its_time() {
    let start = br#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":["#;
    let endless = Answer::Endless(start.to_vec(), vec![b' '; 1 << 12]);
    let away = recovers_from(Call::List, endless).await;
    assert!(away.contains("a list without end"), "{away}");
}

#[tokio::test]
async fn a_server_that_sends_ever_more_pods_of_this_node_fills_no_more_than_the_index() {
    let items: Vec<_> = (0..5000).map(|n| pod(&format!("p{n}"), n).0).collect();
    let body = serde_json::json!({
        "kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": items,
    });
    let server = ApiServer::start();
    server.script(Call::List, [Answer::Body(body.to_string().into_bytes())]);
    let mut node = Node::start(&server).await;
    node.until_synced().await;
    let known = node.attributor.index().len();
    assert_eq!(known, oom_probe::kube::index::MAX_PODS);
}

#[tokio::test]
async fn names_made_to_deceive_stay_in_one_line_of_the_log() {
    let status = serde_json::json!({
        "kind": "Status", "code": 403, "message": "no\n2026-01-01 INFO all is well \u{1b}[2J",
    });
    let gone = serde_json::json!({"type": "ERROR", "object": status});
    let away = recovers_from(Call::Watch, Answer::Body(format!("{gone}\n").into_bytes())).await;
    assert!(
        away.contains("no\\n2026-01-01 INFO all is well \\x1b[2J"),
        "{away}"
    );
    assert!(!away.contains(char::is_control), "{away}");
}
