//! Kubernetes Events of both daemons.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    apiserver::{
        ApiServer,
        pods::{pod, uid},
    },
    kubernetes::node::{NODE, client},
};
use capture::{cgroup::path, model::labels::Outcome, sys::clock::Now};
use jiff::Timestamp;
use oom_probe::{
    attribution::outcome::Settled,
    kube::{names::Names, object::OOM_GROUP, pod::Pod},
    oom_group::{
        annotation::{Reason, Refusal, Setting},
        notice::Notice,
    },
    sinks::kube_events::{Events, Mode},
};
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;

use super::{hold, kills};

/// Longer than a container waits for its next Event.
const LATER: Duration = Duration::from_secs(3600);

/// What each kill is told as, if its container died and if it survived.
#[tokio::test]
async fn events_of_kills() {
    let mut text = String::new();
    for (outcome, kills) in [
        (Outcome::Survived, 1),
        (Outcome::Died, 1),
        (Outcome::Died, 2),
        (Outcome::Died, 8),
    ] {
        let settled = kills::all().into_iter().map(|(_, mut record)| {
            if let Some(at) = record.kill.cgroup.as_ref().and_then(|at| at.path.as_ref()) {
                record.kill.identity = path::from_path(at.as_bytes());
            }
            Settled {
                outcome,
                kill: Box::new(record),
                kills,
            }
        });
        // How many there were is said of every kill in the same way.
        let some = if kills == 1 { usize::MAX } else { 1 };
        let events = posted(settled.take(some)).await;
        writeln!(text, "{outcome}, {kills} of its processes killed:").unwrap();
        add(&events, &mut text);
    }
    hold("events-run.txt", &text);
}

/// A container that is killed again and again: one at once, one when the window is over.
#[tokio::test]
async fn events_that_were_left_out_are_counted() {
    let server = ApiServer::start();
    let mut events = Events::start(client(&server).await, NODE, Mode::All, Counter::default());
    for (_, record) in kills::all().into_iter().take(5) {
        report(&mut events, record);
    }
    events.tick(Instant::now() + LATER);
    events.finish(LATER).await;
    let mut text = String::new();
    for event in server.events() {
        writeln!(text, "{}", event["message"]).unwrap();
    }
    hold("events-left-out.txt", &text);

    fn report(events: &mut Events, record: capture::model::kill::Record) {
        let now = at(record.kill.time);
        let settled = Settled {
            outcome: Outcome::Survived,
            kill: Box::new(record),
            kills: 1,
        };
        events.on_settled(&settled, None, &now);
        events.report(None, &now);
    }
}

#[test]
fn events_of_oom_group() {
    let object = serde_json::from_value(pod("cart", 1).sidecar("mesh").0).unwrap();
    let pod = Arc::new(Pod::new(&object, None, &mut Names::default()).unwrap());
    let refused = |annotation: String, reason| {
        let value = "ye\ns".to_owned();
        let refusal = Refusal {
            annotation,
            value,
            reason,
        };
        Notice::Refused(Arc::clone(&pod), refusal)
    };
    let notices = [
        Notice::Held(Arc::clone(&pod), "app".into(), Setting::Process),
        Notice::Held(Arc::clone(&pod), "mesh".into(), Setting::Group),
        Notice::PutBack(Arc::clone(&pod), "app".into(), Setting::Group),
        refused(OOM_GROUP.into(), Reason::Value),
        refused(format!("{OOM_GROUP}/app"), Reason::Key),
        refused(format!("{OOM_GROUP}.other"), Reason::NoSuchContainer),
        Notice::Unsupported(Arc::clone(&pod)),
    ];
    let mut text = String::new();
    for notice in notices {
        let event = notice.event(NODE, Timestamp::UNIX_EPOCH);
        add(&[serde_json::from_slice(&event.body).unwrap()], &mut text);
    }
    hold("events-oom-group.txt", &text);
}

/// The Events that the API server has got, each of a container of its own.
async fn posted(all: impl Iterator<Item = Settled>) -> Vec<Value> {
    let server = ApiServer::start();
    let mut events = Events::start(client(&server).await, NODE, Mode::All, Counter::default());
    for (n, mut settled) in (100..).zip(all) {
        if let Some(pod) = &mut settled.kill.pod {
            pod.uid = Some(uid(n));
        }
        let now = at(settled.kill.kill.time);
        events.on_settled(&settled, None, &now);
        events.report(None, &now);
    }
    events.finish(LATER).await;
    server.events()
}

/// The moment of a kill: of older ones no Event is made.
fn at(time: Timestamp) -> Now {
    Now {
        realtime: time,
        ..Now::read()
    }
}

fn add(events: &[Value], text: &mut String) {
    for event in events {
        let event = serde_json::to_string_pretty(event).unwrap();
        writeln!(text, "{event}").unwrap();
    }
}
