//! Kubernetes Events, as an API server takes and refuses them.

use std::time::{Duration, Instant};

use capture::{
    model::{kill::Record, labels::Outcome},
    sys::clock::Now,
};
use oom_probe::{
    attribution::outcome::Settled,
    sinks::kube_events::{Events, Mode},
};
use prometheus_client::metrics::counter::Counter;
use serde_json::json;

use super::{
    apiserver::{Answer, ApiServer, Call, pods::uid},
    clock::{Clock, TICK, round_trip},
    node::{NODE, client},
};

const FINISH: Duration = Duration::from_secs(60);

/// An OOM event of pod `cart` that its container survived, of a kill with that id.
fn settled(kill: &str) -> Settled {
    let record: Record = serde_json::from_value(json!({
        "type": "oom_kill", "schema": 1, "id": kill, "time": jiff::Timestamp::now(),
        "event": "e", "role": "primary", "limit": "container",
        "victim": {"pid": 7, "tid": 7, "kind": "child", "comm": "python3"}, "truncated": false,
        "scope": "pod", "attribution": "live",
        "pod": {"namespace": "shop", "name": "cart", "uid": uid(1), "container": "app"},
    }))
    .unwrap();
    Settled {
        outcome: Outcome::Survived,
        kill: Box::new(record),
        kills: 1,
    }
}

fn of_container(mut settled: Settled, container: &str) -> Settled {
    if let Some(pod) = &mut settled.kill.pod {
        pod.container = Some(container.to_owned());
    }
    settled
}

/// As the daemon does once the OOM event is over.
fn report(events: &mut Events, settled: &Settled) {
    let now = Now::read();
    events.on_settled(settled, None, &now);
    events.report(None, &now);
}

/// Posts them; returns how many were not sent.
async fn post(server: &ApiServer, all: &[Settled]) -> u64 {
    let dropped = Counter::default();
    let client = client(server).await;
    let mut events = Events::start(client, NODE, Mode::All, dropped.clone());
    for settled in all {
        report(&mut events, settled);
    }
    events.finish(FINISH).await;
    dropped.get()
}

#[tokio::test]
async fn an_event_is_created_in_the_pods_namespace_and_nothing_else_is_asked() {
    let server = ApiServer::start();
    post(&server, &[settled("a-1")]).await;
    let requests = server.requests(Call::CreateEvent);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/api/v1/namespaces/shop/events");
    assert_eq!(requests[0].token.as_deref(), Some("Bearer secret"));
    for call in [Call::List, Call::Watch, Call::Other] {
        assert!(server.requests(call).is_empty(), "{call:?}");
    }
    let events = server.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["reason"], "ProcessOOMKilled");
    assert_eq!(events[0]["involvedObject"]["uid"], uid(1));
    assert_eq!(
        events[0]["involvedObject"]["fieldPath"],
        "spec.containers{app}"
    );
    let note = events[0]["message"].as_str().unwrap();
    assert!(note.contains("python3"), "{note}");
}

#[tokio::test]
async fn the_same_kill_told_twice_is_one_event() {
    let server = ApiServer::start();
    for _ in 0..2 {
        post(&server, &[settled("a-1")]).await;
    }
    assert_eq!(
        server.requests(Call::CreateEvent).len(),
        2,
        "the second is a conflict"
    );
    assert_eq!(server.events().len(), 1);
}

#[tokio::test]
async fn an_event_waits_for_an_api_server_that_is_busy() {
    for answer in [Answer::RetryAfter(429, 2), Answer::Status(500)] {
        let least = Duration::from_secs(match answer {
            Answer::RetryAfter(_, seconds) => seconds,
            _ => 1,
        });
        let server = ApiServer::start();
        server.script(Call::CreateEvent, [answer]);
        let client = client(&server).await;
        let clock = Clock::stop();
        let mut events = Events::start(client, NODE, Mode::All, Counter::default());
        report(&mut events, &settled("a-1"));
        clock.until_requests(&server, Call::CreateEvent, 1).await;
        round_trip(&server).await;
        clock.pass(least - TICK).await;
        round_trip(&server).await;
        assert_eq!(server.requests(Call::CreateEvent).len(), 1);
        assert!(server.events().is_empty());
        clock.go_on();
        events.finish(FINISH).await;
        assert_eq!(server.events().len(), 1, "after {least:?}");
    }
}

#[tokio::test]
async fn a_refused_event_is_dropped_and_the_next_one_is_not() {
    for status in [403, 404, 422] {
        let server = ApiServer::start();
        server.script(Call::CreateEvent, [Answer::Status(status)]);
        let events = [settled("a-1"), of_container(settled("a-2"), "proxy")];
        let dropped = post(&server, &events).await;
        // A namespace that is gone has nobody to tell.
        assert_eq!(dropped, u64::from(status != 404), "{status}");
        assert_eq!(server.requests(Call::CreateEvent).len(), 2, "{status}");
        assert_eq!(server.events().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_hanging_api_server_holds_nobody_up() {
    let server = ApiServer::start();
    server.script(Call::CreateEvent, vec![Answer::Hang; 100]);
    let dropped = Counter::default();
    let client = client(&server).await;
    let mut events = Events::start(client, NODE, Mode::All, dropped.clone());
    // None of this can wait: it is not async.
    for n in 0..600 {
        let settled = of_container(settled(&format!("a-{n}")), &format!("c{n}"));
        report(&mut events, &settled);
        events.tick(Instant::now());
    }
    // More containers than it keeps in mind.
    assert_eq!(dropped.get(), 600 - 512);
    // Time passes as soon as everybody waits.
    tokio::time::pause();
    events.finish(Duration::from_secs(1)).await;
    assert!(server.requests(Call::CreateEvent).len() <= 1);
}

#[tokio::test]
async fn a_container_that_is_killed_again_and_again_is_told_of_once() {
    let server = ApiServer::start();
    let all: Vec<_> = (0..100).map(|n| settled(&format!("a-{n}"))).collect();
    post(&server, &all).await;
    assert_eq!(server.events().len(), 1);
}
