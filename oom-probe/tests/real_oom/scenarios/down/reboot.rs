//! The machine is started anew, and finds the state of the boot before: what counts goes on, what
//! belonged to that boot is over.
//!
//! PID 1 of an emulated machine hands what is left below [`NEXT_BOOT`] to the machine's next start,
//! where this test finds it in [`KEPT`].

use std::fs;
use std::path::{Path, PathBuf};

use crate::{
    apiserver::pods::pod,
    daemon::Daemon,
    harness::skipped,
    scenarios::{lowest::without_btf, pods::stage::HERD},
    world::{Running, World},
};
use capture::{
    accounting::reconciler::vmstat_oom_kills,
    model::{kill::Record, labels::Attribution},
};
use hog::cgroup::Cgroup;
use serde::{Deserialize, Serialize};

use super::{Node, container, counted, dies_in, until};

const NEXT_BOOT: &str = "/next-boot";
const KEPT: &str = "/kept";
/// The states of two daemons in it.
const USUAL: &str = "usual";
const LOWEST: &str = "lowest";
/// The name of this scenario, which is all that the next boot has to run.
const NAME: &str = "state over a reboot";
/// A machine gives out its pids one after another; others may be started in between.
const ATTEMPTS: usize = 50;

/// What the first boot knows.
#[derive(Serialize, Deserialize)]
struct Before {
    boot: String,
    usual: Left,
    lowest: Left,
}

/// What a daemon had told and counted, which the next is to find in its state.
#[derive(Serialize, Deserialize)]
struct Left {
    kills: Vec<Record>,
    total: u64,
    received: u64,
    /// Of the last that was killed.
    pid: u32,
}

impl Left {
    fn by(daemon: &Daemon, pid: u32) -> Self {
        Self {
            kills: daemon.kills(None),
            total: total(daemon),
            received: daemon.metrics().value("oom_probe_records_received_total"),
            pid,
        }
    }
}

pub(crate) fn reboot(world: &World) -> String {
    if Path::new(KEPT).exists() {
        after(world)
    } else {
        before(world)
    }
}

fn before(world: &World) -> String {
    let kept = PathBuf::from(format!("{NEXT_BOOT}{KEPT}"));
    fs::create_dir_all(&kept).unwrap();
    fs::create_dir_all(format!("{NEXT_BOOT}/etc")).unwrap();
    fs::write(format!("{NEXT_BOOT}/etc/test-arguments"), NAME).unwrap();
    let before = Before {
        boot: boot(),
        usual: cut_off(world, kept.join(USUAL)),
        lowest: stopped(world, kept.join(LOWEST)),
    };
    let before = serde_json::to_string(&before).unwrap();
    fs::write(kept.join("before.json"), before).unwrap();
    skipped("the machine was not started again")
}

/// A machine loses its power: the daemon has no time for anything.
fn cut_off(world: &World, state: PathBuf) -> Left {
    let node = Node::with_state(world, tempfile::tempdir().unwrap(), state);
    let daemon = node.start();
    until(&daemon, "the pod is known", || counted(&daemon) == Some(0));
    let mut survivor = Running::start(&node.app, world.hog(&HERD));
    survivor.line("killed by SIGKILL");
    let pid = dies_in(world, &container(world, 2, 2));
    until(&daemon, "both are counted", || total(&daemon) == 2);
    let left = Left::by(&daemon, pid);
    assert_eq!(left.kills.len(), 1, "the other is parked");
    left
}

/// A machine is shut down in good order; of the victim no more than its id was known.
fn stopped(world: &World, state: PathBuf) -> Left {
    let node = Node::with_state(world, tempfile::tempdir().unwrap(), state);
    let daemon = start_on_lowest_rung(&node);
    daemon.freeze(true);
    let pid = dies_in(world, &node.app);
    daemon.freeze(false);
    until(&daemon, "it is counted", || total(&daemon) == 1);
    let left = Left::by(&daemon, pid);
    assert_eq!(left.kills[0].kill.victim.start_time, None);
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    left
}

fn start_on_lowest_rung(node: &Node<'_>) -> Daemon {
    let mut command = node.command();
    without_btf(&mut command, &node.scratch.path().join("nothing"));
    let daemon = Daemon::start_at(command, node.scratch.path(), node.address).unwrap();
    let hook = daemon.metrics().label("oom_probe_hook_info", "hook");
    assert_eq!(hook, "tracepoint", "{}", daemon.log());
    daemon
}

fn after(world: &World) -> String {
    let before = fs::read_to_string(Path::new(KEPT).join("before.json")).unwrap();
    let before: Before = serde_json::from_str(&before).unwrap();
    assert_ne!(before.boot, boot(), "it is the same boot");
    // Nobody captures this one, and no counter of the boot before is to be compared with its own.
    dies_in(world, &container(world, 3, 3));
    after_stop(world, &before.lowest);
    after_cut(world, &before.usual);
    let kills = before.lowest.total + before.usual.total;
    format!("{kills} kills, and others by the same pids")
}

/// A process that is known by its id alone is not taken for one of the boot before.
fn after_stop(world: &World, before: &Left) {
    let state = Path::new(KEPT).join(LOWEST);
    let node = Node::with_state(world, tempfile::tempdir().unwrap(), state);
    let daemon = start_on_lowest_rung(&node);
    goes_on(&daemon, before);
    daemon.freeze(true);
    dies_as(world, &node.app, before.pid);
    daemon.freeze(false);
    until(&daemon, "the kill of this boot", || {
        total(&daemon) == before.total + 1
    });
    balanced(&daemon, before.total + 1);
}

fn after_cut(world: &World, before: &Left) {
    let state = Path::new(KEPT).join(USUAL);
    let node = Node::with_state(world, tempfile::tempdir().unwrap(), state);
    // The kubelet has started the container anew.
    let restarted = pod("cart", 1).restarted("app", 4, 1, "12:00:05");
    node.server.apply(&restarted);
    let daemon = node.start();
    goes_on(&daemon, before);
    let outcomes = ["died", "survived"].map(|outcome| events(&daemon, outcome));
    assert_eq!(outcomes, [1, 0]);
    let late = pod("late", 2).restarted("app", 5, 2, "12:00:05");
    node.server.apply(&late);
    until(&daemon, "whose the parked kill is", || {
        daemon.kills(None).len() == 2
    });
    let parked = daemon.kills(None).remove(1);
    assert_eq!(parked.attribution, Attribution::Late);
    let name = parked.pod.and_then(|pod| pod.name);
    assert_eq!(name.as_deref(), Some("late"));
    assert_eq!(counted(&daemon), Some(1));

    dies_as(world, &container(world, 1, 4), before.pid);
    until(&daemon, "the kill of this boot", || {
        daemon.kills(None).len() == 3
    });
    assert_eq!(daemon.kills(None)[2].kill.victim.pid, before.pid);
    assert_eq!(counted(&daemon), Some(2));
    balanced(&daemon, before.total + 1);
}

/// All is as it was left, and nothing has been found that nobody captured.
fn goes_on(daemon: &Daemon, before: &Left) {
    let log = daemon.log();
    assert!(log.contains("of an earlier boot"), "{log}");
    assert!(!log.contains("taking over"), "{log}");
    assert_eq!(daemon.kills(None), before.kills);
    let metrics = daemon.metrics();
    let received = metrics.value("oom_probe_records_received_total");
    assert_eq!(received, before.received);
    assert_eq!(metrics.value("oom_probe_drained_kills_total"), 0);
    let recovered = [r#"result="recovered""#.to_owned()];
    assert_eq!(metrics.sum("oom_probe_attributions_total", &recovered), 0);
    balanced(daemon, before.total);
}

fn balanced(daemon: &Daemon, kills: u64) {
    assert_eq!(total(daemon), kills);
    let metrics = daemon.metrics();
    assert_eq!(metrics.value("oom_probe_unaccounted_kills"), 0);
    let vmstat = vmstat_oom_kills(Path::new("/proc")).unwrap();
    assert_eq!(metrics.value("oom_probe_vmstat_oom_kills_total"), vmstat);
}

/// Has a process killed that has that pid.
fn dies_as(world: &World, cgroup: &Cgroup, pid: u32) {
    for _ in 0..ATTEMPTS {
        let last = (pid - 1).to_string();
        fs::write("/proc/sys/kernel/ns_last_pid", last).unwrap();
        let hog = world.hog(&["grow", "--interval", "0"]);
        let running = Running::start(cgroup, hog);
        if running.pid() == pid {
            running.end().killed();
            return;
        }
    }
    panic!("no process got pid {pid}");
}

fn total(daemon: &Daemon) -> u64 {
    daemon.metrics().sum("oom_probe_kills_total", &[])
}

fn events(daemon: &Daemon, outcome: &str) -> u64 {
    let labels = [
        r#"pod="cart""#.to_owned(),
        format!(r#"outcome="{outcome}""#),
    ];
    let metrics = daemon.metrics();
    metrics.sum("oom_probe_container_oom_events_total", &labels)
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap()
}
