//! Kills of a time without a daemon, where hooks and ring are pinned: whose they are, and what a
//! Prometheus sees of them.

pub(super) mod again;
pub(super) mod reboot;
pub(super) mod stopping;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::{
    apiserver::{
        ApiServer,
        pods::{container_id, pod, uid},
    },
    daemon::Daemon,
    kubelet::{Class, Driver, Runtime},
    prometheus::{self, Config, Format, Prometheus, Scrape},
    wait,
    world::{Running, World},
};
use capture::model::labels::Attribution;
use hog::cgroup::Cgroup;

use super::LIMIT;
use super::pins::Bpffs;
use super::pods::stage::HERD;

const NODE: &str = "node-1";
const KILLS: &str = r#"oom_probe_container_oom_kills_total{pod="cart",container="app"}"#;

/// A node with one pod, and daemons that come and go at one address.
struct Node<'w> {
    world: &'w World,
    server: ApiServer,
    bpffs: Bpffs,
    scratch: tempfile::TempDir,
    state: PathBuf,
    address: SocketAddr,
    app: Cgroup,
}

impl<'w> Node<'w> {
    fn new(world: &'w World) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let state = scratch.path().join("state");
        Self::with_state(world, scratch, state)
    }

    fn with_state(world: &'w World, scratch: tempfile::TempDir, state: PathBuf) -> Self {
        let server = ApiServer::start();
        server.apply(&pod("cart", 1).running("app", 1));
        // Free a moment ago, and nobody else asks for it.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        Self {
            world,
            server,
            bpffs: Bpffs::mount(),
            scratch,
            state,
            address: address.unwrap(),
            app: container(world, 1, 1),
        }
    }

    fn start(&self) -> Daemon {
        Daemon::start_at(self.command(), self.scratch.path(), self.address).unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.world.programs().oom_probe);
        command
            .args(["run", "--kubernetes", "on", "--node", NODE, "--pin-dir"])
            .arg(self.bpffs.pin_dir())
            .arg("--state-dir")
            .arg(&self.state)
            .env("KUBECONFIG", self.server.kubeconfig(self.scratch.path()));
        command
    }

    fn dies(&self) -> u32 {
        dies_in(self.world, &self.app)
    }

    /// The same, and the pod's status says that the container ended by it.
    fn ends(&self) {
        self.dies();
        let pod = pod("cart", 1).running("app", 1);
        self.server
            .apply(&pod.terminated("app", 1, 137, "12:00:20"));
    }
}

/// The cgroup of a container with a limit.
fn container(world: &World, pod: u32, id: u32) -> Cgroup {
    let driver = Driver::Cgroupfs;
    let pod = driver.pod(Class::Burstable, &uid(pod));
    let container = driver.container(Runtime::Containerd, &container_id(id));
    world.limited(&format!("{pod}/{container}"), LIMIT)
}

fn dies_in(world: &World, cgroup: &Cgroup) -> u32 {
    let hog = world.hog(&["grow", "--interval", "0"]);
    Running::start(cgroup, hog).end().killed().pid
}

fn until(daemon: &Daemon, what: &str, done: impl Fn() -> bool) {
    wait::until_so(what, done, || daemon.log());
}

/// The value of the container's series; absent where it is not there.
fn counted(daemon: &Daemon) -> Option<u64> {
    let metrics = daemon.metrics();
    let labels = [r#"pod="cart""#.to_owned(), r#"container="app""#.to_owned()];
    let name = "oom_probe_container_oom_kills_total";
    (metrics.count(name, &labels) > 0).then(|| metrics.sum(name, &labels))
}

/// A pod is killed and deleted while the daemon is down.
pub(crate) fn tombstone(world: &World) -> String {
    let node = Node::new(world);
    let daemon = node.start();
    until(&daemon, "the pod is known", || counted(&daemon) == Some(0));
    drop(daemon);
    node.dies();
    node.server.delete(&pod("cart", 1).running("app", 1));
    let daemon = node.start();
    until(&daemon, "the kill", || !daemon.kills(None).is_empty());
    let kills = daemon.kills(None);
    assert_eq!(kills.len(), 1);
    assert_eq!(kills[0].attribution, Attribution::Tombstone);
    let of = kills[0].pod.as_ref().unwrap();
    let name = (of.name.as_deref(), of.container.as_deref());
    assert_eq!(name, (Some("cart"), Some("app")));
    let metrics = daemon.metrics();
    assert_eq!(metrics.value("oom_probe_drained_kills_total"), 1);
    assert_eq!(metrics.value("oom_probe_capture_duration_seconds_count"), 0);
    assert_eq!(counted(&daemon), Some(1), "kept though the pod is gone");
    "the name of a pod that is gone".to_owned()
}

/// What waits for its pod, or for what becomes of the container, waits on over a restart.
pub(crate) fn waiting(world: &World) -> String {
    let node = Node::new(world);
    // No status has named the second run yet.
    let second = container(world, 2, 2);
    let daemon = node.start();
    until(&daemon, "the pod is known", || counted(&daemon) == Some(0));
    let herd = world.hog(&HERD);
    let mut parent = Running::start(&node.app, herd);
    parent.line("killed by SIGKILL");
    dies_in(world, &second);
    let pods = [r#"scope="pod""#.to_owned()];
    until(&daemon, "both are counted", || {
        daemon.metrics().sum("oom_probe_kills_total", &pods) == 2
    });
    drop(daemon);
    let daemon = node.start();
    assert_eq!(daemon.kills(None).len(), 1, "one is parked");
    node.server.apply(&pod("late", 2).running("app", 2));
    until(&daemon, "the pod's kill", || daemon.kills(None).len() == 2);
    let late = &daemon.kills(None)[1];
    assert_eq!(late.attribution, Attribution::Late);
    let name = late.pod.as_ref().and_then(|pod| pod.name.as_deref());
    assert_eq!(name, Some("late"));
    let events = |outcome: &str| {
        let labels = [
            r#"pod="cart""#.to_owned(),
            format!(r#"outcome="{outcome}""#),
        ];
        let metrics = daemon.metrics();
        metrics.sum("oom_probe_container_oom_events_total", &labels)
    };
    until(&daemon, "the outcome", || events("survived") == 1);
    assert_eq!(events("died"), 0);
    let metrics = daemon.metrics();
    assert_eq!(metrics.sum("oom_probe_kills_total", &pods), 2);
    "a kill without a pod, an event without an outcome".to_owned()
}

/// Value 1, SIGKILL, one kill while down, restart: an increase of 1.
pub(crate) fn increase(world: &World) -> String {
    if let Err(reason) = prometheus::available() {
        return crate::harness::skipped(&reason);
    }
    let node = Node::new(world);
    let daemon = node.start();
    let prometheus = Prometheus::start(&Config {
        scrapes: vec![Scrape::of("node", node.address, Format::Text)],
        ..Config::default()
    });
    prometheus.until(&format!("{KILLS} == 0"), |samples| samples.len() == 1);
    node.dies();
    prometheus.until(&format!("{KILLS} == 1"), |samples| samples.len() == 1);
    let since = Instant::now();
    prometheus.scraped("node");
    drop(daemon);
    node.dies();
    let daemon = node.start();
    prometheus.until(&format!("{KILLS} == 2"), |samples| samples.len() == 1);
    // Enough samples for the extrapolation to be less than a half.
    for _ in 0..5 {
        prometheus.scraped("node");
    }
    // From the last sample before the kill on.
    let window = since.elapsed().as_millis();
    let increase = prometheus.query(&format!("round(increase({KILLS}[{window}ms]))"));
    assert_eq!(increase[0].value, 1.0, "{increase:?}\n{}", daemon.log());
    let resets = prometheus.query(&format!("resets({KILLS}[10m])"));
    assert_eq!(resets[0].value, 0.0, "{resets:?}");
    "1 of 1".to_owned()
}

/// The state is lost: the kill waits until its series has been seen at 0. Whose kill it was of a pod
/// that is gone nobody knows any more.
pub(crate) fn state_lost(world: &World) -> String {
    let node = Node::new(world);
    let gone = pod("gone", 2).running("app", 2);
    node.server.apply(&gone);
    let of_gone = container(world, 2, 2);
    let daemon = node.start();
    until(&daemon, "the pod is known", || counted(&daemon) == Some(0));
    drop(daemon);
    node.dies();
    dies_in(world, &of_gone);
    node.server.delete(&gone);
    fs::remove_dir_all(&node.state).unwrap();
    let daemon = node.start();
    // Each look at the metrics is a scrape.
    let first = wait::until("the series", || counted(&daemon), Option::is_some);
    assert_eq!(first, Some(0), "{}", daemon.log());
    until(&daemon, "the kill is counted", || {
        counted(&daemon) == Some(1)
    });
    assert_eq!(daemon.kills(None).len(), 1);
    let metrics = daemon.metrics();
    let pods = [r#"scope="pod""#.to_owned()];
    assert_eq!(metrics.sum("oom_probe_kills_total", &pods), 2);
    let gone = [r#"pod="gone""#.to_owned()];
    assert_eq!(
        metrics.count("oom_probe_container_oom_kills_total", &gone),
        0
    );
    // It was kept while it waited, and is not counted again.
    drop(daemon);
    let daemon = node.start();
    until(&daemon, "the series is back", || counted(&daemon).is_some());
    assert_eq!(counted(&daemon), Some(1));
    "counted after a scrape at 0".to_owned()
}
