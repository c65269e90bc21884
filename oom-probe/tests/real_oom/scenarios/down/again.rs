//! What a daemon knows again of its node before anybody has told it.

use std::fs;

use crate::{
    apiserver::{Answer, Call, pods::pod},
    daemon::Daemon,
    scenarios::pods::stage::HERD,
    world::{Running, World},
};
use capture::model::{kill::Record, labels::Attribution};
use tokio::sync::watch;

use super::{Node, counted, until};

/// A container lives on while a process of it is killed without a daemon: its kill is told before the
/// pods are listed, and is no tombstone.
pub(crate) fn lives_on(world: &World) -> String {
    let node = Node::new(world);
    let daemon = node.start();
    until(&daemon, "the pod is known", || counted(&daemon) == Some(0));
    let mut parent = Running::start(&node.app, world.hog(&HERD));
    parent.line("killed by SIGKILL");
    until(&daemon, "the first kill", || of_cart(&daemon).len() == 1);
    drop(daemon);
    node.dies();
    let (release, held) = watch::channel(false);
    node.server.script(Call::List, [Answer::Held(held)]);
    let daemon = node.start();
    until(&daemon, "the second kill", || of_cart(&daemon).len() == 2);
    let second = &of_cart(&daemon)[1];
    assert_eq!(second.attribution, Attribution::Live, "{}", daemon.log());
    release.send(true).unwrap();
    until(&daemon, "the pods are listed", || {
        daemon.metrics().value("oom_probe_kubernetes_synced") == 1
    });
    assert_eq!(counted(&daemon), Some(2));
    "live before the pods are listed".to_owned()
}

/// Others may be killed on this machine, too.
fn of_cart(daemon: &Daemon) -> Vec<Record> {
    let mut kills = daemon.kills(None);
    kills.retain(|kill| {
        let pod = kill.pod.as_ref();
        pod.is_some_and(|pod| pod.name.as_deref() == Some("cart"))
    });
    kills
}

/// A container that had its Event waits for the next, whatever becomes of the daemon.
pub(crate) fn one_event(world: &World) -> String {
    let node = Node::new(world);
    let daemon = node.start();
    until(&daemon, "the pod is known", || counted(&daemon) == Some(0));
    node.ends();
    let events = || node.server.events().len();
    until(&daemon, "an Event", || events() == 1);
    until(&daemon, "it is kept", || has(&node, r#""event_window":"#));
    drop(daemon);
    for _ in 0..2 {
        let daemon = node.start();
        let before = counted(&daemon);
        node.dies();
        until(&daemon, "the next kill", || counted(&daemon) > before);
        until(&daemon, "it waits for its Event", || {
            assert_eq!(events(), 1, "{}", daemon.log());
            has(&node, r#""last":{"outcome":"#)
        });
        drop(daemon);
    }
    assert_eq!(events(), 1);
    "1 Event of 3 kills in three daemons".to_owned()
}

/// Whether the state says that.
fn has(node: &Node<'_>, part: &str) -> bool {
    let mut files = fs::read_dir(&node.state).unwrap().flatten();
    files.any(|file| fs::read_to_string(file.path()).is_ok_and(|text| text.contains(part)))
}

/// Series that there is no room for are counted once.
pub(crate) fn refused(world: &World) -> String {
    let node = Node::new(world);
    node.server
        .apply(&pod("other", 2).container("proxy").container("db"));
    let start = || {
        let mut command = node.command();
        command.args(["--max-containers", "1"]);
        Daemon::start_at(command, node.scratch.path(), node.address).unwrap()
    };
    let refused = |daemon: &Daemon| daemon.metrics().value("oom_probe_series_refused_total");
    let synced = |daemon: &Daemon| daemon.metrics().value("oom_probe_kubernetes_synced") == 1;
    let daemon = start();
    until(&daemon, "the pods are listed", || synced(&daemon));
    let before = refused(&daemon);
    assert!(before > 0, "{}", daemon.log());
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    for _ in 0..2 {
        let daemon = start();
        assert_eq!(refused(&daemon), before);
        until(&daemon, "the pods are listed", || synced(&daemon));
        assert_eq!(refused(&daemon), before);
        drop(daemon);
    }
    format!("{before} refused, in three daemons")
}
