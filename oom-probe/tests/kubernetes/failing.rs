//! An API server that fails, is away, or comes late: the watch goes on, and says what is wrong.

use std::time::Duration;

use oom_probe::kube::{Link, watch::Patience};
use tokio::sync::watch;

use super::{
    apiserver::{
        Answer, ApiServer, Call,
        pods::{container_path, pod, uid},
    },
    clock::{Clock, TICK, round_trip},
    node::{Node, PATIENCE},
};

fn path(pod: u32, container: u32) -> String {
    container_path(&uid(pod), container)
}

#[tokio::test]
async fn each_refusal_is_told_in_one_line_and_tried_again() {
    for (answer, expected) in [
        (Answer::Status(401), "(401: as the test wants it)"),
        (Answer::Status(403), "must allow list and watch on pods"),
        (Answer::Status(500), "answers 500: as the test wants it"),
        (Answer::RetryAfter(503, 0), "answers 503"),
        (Answer::Hang, "did not answer within 1 s"),
        (Answer::Silent, "did not answer within 1 s"),
        (
            Answer::Broken(b"{\"kind\":\"PodList\",".to_vec()),
            "the connection broke",
        ),
    ] {
        for call in [Call::List, Call::Watch] {
            // The head of a watch's response is all that is needed until it falls silent.
            if call == Call::Watch && matches!(answer, Answer::Silent) {
                continue;
            }
            let server = ApiServer::start();
            server.apply(&pod("cart", 1).running("app", 1));
            server.script(call, [answer.clone(), answer.clone()]);
            let answer_within = match answer {
                Answer::Hang | Answer::Silent => Duration::from_secs(1),
                _ => PATIENCE.answer,
            };
            let patience = Patience {
                answer: answer_within,
                ..PATIENCE
            };
            let mut node = Node::with_patience(&server, patience).await;
            let away = node
                .until_link("trouble", |link| matches!(link, Link::Away(_)))
                .await;
            assert!(
                away.to_string().contains(expected),
                "{call:?} {answer:?}: {away}"
            );
            assert!(!away.to_string().contains('\n'));
            node.until_link("sync", Link::is_synced).await;
            node.until_pods(&["cart"]).await;
            assert_eq!(node.kill(&path(1, 1)), "live cart/app");
        }
    }
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    server.script(Call::List, [Answer::RetryAfter(429, 100)]);
    let clock = Clock::stop();
    let node = Node::start(&server).await;
    until_away(&clock, &node, "answers 429").await;
    clock.pass(Duration::from_secs(100) - TICK).await;
    round_trip(&server).await;
    assert_eq!(server.requests(Call::List).len(), 1);
    clock.pass(2 * TICK).await;
    clock.until_requests(&server, Call::List, 2).await;
    clock.until("sync", || node.link(), Link::is_synced).await;
}

async fn until_away(clock: &Clock, node: &Node, why: &str) {
    let is_away = |link: &Link| link.to_string().contains(why);
    clock.until(why, || node.link(), is_away).await;
}

#[tokio::test]
async fn a_watch_from_too_long_ago_leads_to_one_new_list() {
    let server = ApiServer::start();
    let (cart, lost) = (
        pod("cart", 1).running("app", 1),
        pod("lost", 2).running("app", 2),
    );
    server.apply(&cart);
    server.apply(&lost);
    let mut node = Node::start(&server).await;
    node.until_pods(&["cart", "lost"]).await;
    node.until_requests(&server, Call::Watch, 1).await;
    // Nobody is told, and then it is forgotten.
    server.stall(true);
    server.delete(&lost);
    server.apply(&pod("new", 3).running("app", 3));
    server.compact();
    server.close_watches();
    server.stall(false);
    node.until_pods(&["cart", "new"]).await;
    assert_eq!(node.kill(&path(2, 2)), "tombstone lost/app");
    assert_eq!(node.kill(&path(3, 3)), "live new/app");
    node.until_synced().await;
    assert_eq!(server.requests(Call::List).len(), 2);
}

#[tokio::test]
async fn gone_in_the_middle_of_a_watch_leads_to_a_new_list() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    server.script(Call::Watch, [gone()]);
    let mut node = Node::start(&server).await;
    node.until_pods(&["cart"]).await;
    node.until_requests(&server, Call::List, 2).await;
    server.apply(&pod("new", 2));
    node.until_pods(&["cart", "new"]).await;
    assert_eq!(server.requests(Call::List).len(), 2);
}

/// A line of a watch that says that what it was to tell is forgotten.
fn gone() -> Answer {
    let gone = serde_json::json!({
        "type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"},
    });
    Answer::Body(format!("{gone}\n").into_bytes())
}

/// An API server that was away and restarts has forgotten what it told before.
#[tokio::test]
async fn after_an_outage_a_watch_from_too_long_ago_leads_to_a_new_list_at_once() {
    for answer in [Answer::Status(410), gone()] {
        let (server, mut node) = after_outage().await;
        server.script(Call::Watch, [answer.clone()]);
        server.apply(&pod("new", 2));
        let links = node.links();
        server.set_reachable(true);
        node.until_pods(&["cart", "new"]).await;
        let links = links.seen();
        let waited = links.iter().any(|link| link.contains("(410)"));
        assert!(!waited, "{answer:?}: {links:?}");
        assert_eq!(server.requests(Call::List).len(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn an_api_server_that_forgets_at_once_is_not_asked_for_lists_in_a_loop() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    let bookmark = serde_json::json!({
        "type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "1"}},
    });
    let Answer::Body(gone) = gone() else {
        unreachable!()
    };
    let told = [format!("{bookmark}\n").into_bytes(), gone].concat();
    server.script(Call::Watch, vec![Answer::Body(told); 3]);
    let patience = Patience {
        // Lists are as far apart as that, on a slow machine too.
        max_backoff: Duration::from_secs(3600),
        ..PATIENCE
    };
    let mut node = Node::with_patience(&server, patience).await;
    let away = node
        .until_link("trouble", |link| matches!(link, Link::Away(_)))
        .await;
    assert!(away.to_string().contains("(410)"), "{away}");
    assert_eq!(server.requests(Call::List).len(), 2, "one of them at once");
    node.until_requests(&server, Call::Watch, 4).await;
    node.until_link("sync", Link::is_synced).await;
}

#[tokio::test]
async fn the_pods_of_before_an_outage_are_counted_after_it() {
    let (server, mut node) = after_outage().await;
    server.set_reachable(true);
    node.until_link("sync", Link::is_synced).await;
    assert_eq!(node.link().to_string(), "synced, 1 pods");
    assert_eq!(server.requests(Call::List).len(), 1);
}

/// An API server that has just started does not know the roles yet.
#[tokio::test]
async fn a_refusal_after_an_outage_is_not_told_as_a_missing_role() {
    let (server, mut node) = after_outage().await;
    server.script(Call::Watch, vec![Answer::Status(403); 2]);
    let links = node.links();
    server.set_reachable(true);
    node.until_link("sync", Link::is_synced).await;
    let links = links.seen();
    let refused: Vec<_> = links.iter().filter(|link| link.contains("403")).collect();
    assert!(!refused.is_empty(), "{links:?}");
    for link in refused {
        assert!(link.contains("after its own start"), "{link}");
        assert!(!link.contains("must allow"), "{link}");
    }
}

/// A node with one pod whose API server is away.
async fn after_outage() -> (ApiServer, Node) {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    let mut node = Node::start(&server).await;
    node.until_pods(&["cart"]).await;
    node.until_requests(&server, Call::Watch, 1).await;
    server.set_reachable(false);
    node.until_link("trouble", |link| matches!(link, Link::Away(_)))
        .await;
    (server, node)
}

#[tokio::test]
async fn an_api_server_that_is_away_loses_no_kill() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1).running("app", 1));
    let mut node = Node::start(&server).await;
    node.until_pods(&["cart"]).await;
    node.until_synced().await;
    node.until_requests(&server, Call::Watch, 1).await;
    server.set_reachable(false);
    let away = node
        .until_link("trouble", |link| matches!(link, Link::Away(_)))
        .await;
    assert!(!away.to_string().is_empty());
    // Kills in a pod that is known, and in one that was born while nobody could tell.
    for _ in 0..20 {
        assert_eq!(node.kill(&path(1, 1)), "live cart/app");
        assert_eq!(node.kill(&path(2, 2)), "parked");
    }
    node.until_link("trouble", |link| {
        link.to_string().contains("cannot reach the API server")
    })
    .await;
    server.apply(&pod("born", 2).running("app", 2));
    server.set_reachable(true);
    node.until_pods(&["born", "cart"]).await;
    assert_eq!(node.late(), ["late born/app"; 20]);
    node.until_synced().await;
}

#[tokio::test]
async fn an_api_server_that_starts_late_is_waited_for() {
    let server = ApiServer::start();
    server.set_reachable(false);
    server.apply(&pod("cart", 1).running("app", 1));
    let mut node = Node::start(&server).await;
    node.until_link("trouble", |link| matches!(link, Link::Away(_)))
        .await;
    assert_eq!(node.kill(&path(1, 1)), "parked");
    let (release, held) = watch::channel(false);
    server.script(Call::List, [Answer::Held(held)]);
    server.set_reachable(true);
    node.until_requests(&server, Call::List, 1).await;
    assert_eq!(node.kill(&path(1, 1)), "parked");
    release.send(true).unwrap();
    node.until_synced().await;
    assert_eq!(node.late(), ["late cart/app"; 2]);
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_taken_up_anew() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    let clock = Clock::stop();
    let mut node = Node::start(&server).await;
    clock.until("sync", || node.link(), Link::is_synced).await;
    // Once something came it waits for more.
    let before = node.watch.events.len();
    server.apply(&pod("db-0", 3));
    let waiting = || node.watch.events.len();
    clock
        .until("a change", waiting, |seen| *seen > before)
        .await;
    server.stall(true);
    server.apply(&pod("new", 2));
    clock.pass(PATIENCE.silence - TICK).await;
    round_trip(&server).await;
    assert_eq!(server.requests(Call::Watch).len(), 1);
    clock.pass(2 * TICK).await;
    clock.go_on();
    node.until_requests(&server, Call::Watch, 2).await;
    assert!(node.link().is_synced(), "silence alone is no failure");
    server.stall(false);
    node.until_pods(&["cart", "db-0", "new"]).await;
    assert_eq!(server.requests(Call::List).len(), 1);
}

#[tokio::test]
async fn an_api_server_that_ends_each_watch_at_once_is_not_asked_in_a_loop() {
    let server = ApiServer::start();
    server.apply(&pod("cart", 1));
    server.script(Call::Watch, vec![Answer::Body(Vec::new()); 1000]);
    is_asked_less_and_less_often(&server, Call::Watch, "ends each watch at once").await;
    assert_eq!(server.requests(Call::List).len(), 1);
}

#[tokio::test]
async fn a_failing_list_is_asked_for_less_and_less_often() {
    let server = ApiServer::start();
    server.script(Call::List, vec![Answer::Status(500); 1000]);
    is_asked_less_and_less_often(&server, Call::List, "answers 500").await;
}

/// The waits double up to a bound, with a random part as long again.
async fn is_asked_less_and_less_often(server: &ApiServer, call: Call, why: &str) {
    let clock = Clock::stop();
    let patience = Patience {
        backoff: Duration::from_millis(50),
        max_backoff: Duration::from_millis(400),
        ..PATIENCE
    };
    let node = Node::with_patience(server, patience).await;
    let links = node.links();
    let failures = || {
        links
            .seen()
            .iter()
            .filter(|link| link.contains(why))
            .count()
    };
    for (asked, wait) in [(1, 50), (2, 100), (3, 200), (4, 400), (5, 400), (6, 400)] {
        let wait = Duration::from_millis(wait);
        clock.until_requests(server, call, asked).await;
        // From then on it waits.
        clock.until(why, failures, |seen| *seen == asked).await;
        clock.pass(wait - TICK).await;
        round_trip(server).await;
        assert_eq!(server.requests(call).len(), asked, "before {wait:?}");
        clock.pass(wait + 2 * TICK).await;
    }
    clock.until_requests(server, call, 7).await;
}
