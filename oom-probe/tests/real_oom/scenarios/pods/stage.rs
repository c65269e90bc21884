//! A node with pods: a scripted API server, a daemon that asks it, containers in the kubelet's
//! cgroups, and what has to come of their kills: exactly that on each series, and nothing elsewhere.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use hog::cgroup::{Cgroup, Hierarchy};
use oom_probe::model::{
    kill::{Record, SANDBOX},
    labels::Attribution,
};
use serde_json::Value;

use super::wanted::{Wanted, container_series, workload_series};
use crate::apiserver::{ApiServer, pods::PodJson};
use crate::case::shown;
use crate::container::{in_new_pid_namespace, start_beside, start_init};
use crate::daemon::Daemon;
use crate::kubelet::{Class, Driver, Runtime};
use crate::mounts;
use crate::wait::{self, PATIENCE, PAUSE};
use crate::world::{Running, World};

/// The node's name in every pod of the tests.
const NODE: &str = "node-1";
/// Enough for a hog to grow in, and for a shell around it.
const LIMIT: u64 = 16 << 20;

pub(crate) const GROW: [&str; 3] = ["grow", "--interval", "0"];
/// One child grows and dies; its parent lives on until it is killed.
pub(crate) const HERD: [&str; 9] = [
    "herd",
    "--children",
    "1",
    "--rounds",
    "forever",
    "--pause",
    "1h",
    "--interval",
    "0",
];

pub(crate) struct Stage<'w> {
    pub(crate) world: &'w World,
    pub(crate) server: ApiServer,
    pub(crate) daemon: Daemon,
    driver: Driver,
    /// The node's root of cgroups.
    root: String,
    wanted: BTreeMap<(String, String), Wanted>,
    wanted_workloads: BTreeMap<String, u64>,
    processes: Vec<Running>,
    /// Parents first.
    cgroups: Vec<Cgroup>,
    _scratch: tempfile::TempDir,
}

/// A pod's cgroup: class and UID, or the hash of a static one.
#[derive(Clone, Copy)]
pub(crate) struct PodPlace<'a>(pub(crate) Class, pub(crate) &'a str);

/// What the daemon takes for its node's root of cgroups.
#[derive(Clone, Copy)]
enum Root {
    /// That of the hierarchy, as on a machine of its own.
    Hierarchy,
    /// That which all of this node's pods are below.
    Own,
}

impl<'w> Stage<'w> {
    /// Waits until the daemon knows the pods.
    pub(crate) fn start(world: &'w World, driver: Driver, pods: &[PodJson]) -> Self {
        let server = ApiServer::start();
        for pod in pods {
            server.apply(pod);
        }
        let stage = Self::start_away(world, driver, server);
        stage.until("the pods are known", || stage.is_synced());
        stage
    }

    /// On a node that is itself a container: it has its own root of cgroups.
    pub(crate) fn on_own_root(world: &'w World, driver: Driver, pods: &[PodJson]) -> Self {
        let server = ApiServer::start();
        for pod in pods {
            server.apply(pod);
        }
        let stage = Self::with(world, driver, server, Root::Own, &[]);
        stage.until("the pods are known", || stage.is_synced());
        stage
    }

    /// As its pod runs the daemon: in a PID namespace of its own, without `hostPID`.
    pub(crate) fn in_own_pid_namespace(world: &'w World, driver: Driver, pods: &[PodJson]) -> Self {
        let server = ApiServer::start();
        for pod in pods {
            server.apply(pod);
        }
        let stage = in_new_pid_namespace(|| {
            let start = |mut command: Command, directory: &Path| {
                // SAFETY: between fork and exec only system calls are made, without allocation.
                unsafe { command.pre_exec(|| Ok(mounts::own_proc()?)) };
                Daemon::start_as(command, directory)
            };
            Self::started_by(start, world, driver, server, Root::Hierarchy, &[])
        });
        stage.until("the pods are known", || stage.is_synced());
        stage
    }

    /// Without waiting for the API server.
    pub(crate) fn start_away(world: &'w World, driver: Driver, server: ApiServer) -> Self {
        Self::start_with(world, driver, server, &[])
    }

    /// The same with further flags.
    pub(crate) fn start_with(
        world: &'w World,
        driver: Driver,
        server: ApiServer,
        flags: &[&str],
    ) -> Self {
        Self::with(world, driver, server, Root::Hierarchy, flags)
    }

    fn with(world: &'w World, driver: Driver, server: ApiServer, of: Root, flags: &[&str]) -> Self {
        Self::started_by(Daemon::start_as, world, driver, server, of, flags)
    }

    fn started_by(
        start: impl FnOnce(Command, &Path) -> Result<Daemon, String>,
        world: &'w World,
        driver: Driver,
        server: ApiServer,
        of: Root,
        flags: &[&str],
    ) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        // As systemd spells a dash: what is looked up below has to be the name and not its print.
        let root = world.cgroup(r"node\x2d1");
        let mut command = Command::new(&world.programs().oom_probe);
        command
            .args(["run", "--kubernetes", "on", "--node", NODE])
            .arg("--cgroup-root")
            .arg(match of {
                Root::Hierarchy => &world.hierarchy.root,
                Root::Own => root.directory(),
            })
            .args(match of {
                Root::Hierarchy => &[][..],
                // From that root; the tests' own is not below it.
                Root::Own => &["--kubepods-root", "/kubepods,/kubepods.slice"],
            })
            .args(flags)
            .env("KUBECONFIG", server.kubeconfig(scratch.path()));
        let daemon = start(command, scratch.path()).unwrap();
        Self {
            world,
            server,
            daemon,
            driver,
            root: below_root(world, &root),
            wanted: BTreeMap::new(),
            wanted_workloads: BTreeMap::new(),
            processes: Vec::new(),
            cgroups: vec![root],
            _scratch: scratch,
        }
    }

    /// A pod's cgroup, without a limit.
    pub(crate) fn pod(&mut self, PodPlace(class, uid): PodPlace<'_>) -> usize {
        self.make(&self.driver.pod(class, uid))
    }

    /// A container's cgroup with a limit.
    pub(crate) fn container(&mut self, pod: PodPlace<'_>, runtime: Runtime, id: &str) -> usize {
        let container = self.unlimited(pod, runtime, id);
        self.cgroup(container).set_limit(LIMIT).unwrap();
        container
    }

    /// The same without one.
    pub(crate) fn unlimited(&mut self, pod: PodPlace<'_>, runtime: Runtime, id: &str) -> usize {
        let PodPlace(class, uid) = pod;
        let container = self.driver.container(runtime, id);
        self.make(&format!("{}/{container}", self.driver.pod(class, uid)))
    }

    /// The same cgroup in another hierarchy, where a process has to be put as well.
    pub(crate) fn twin(&mut self, container: usize, hierarchy: &Hierarchy) -> PathBuf {
        let path = below_root(self.world, self.cgroup(container));
        let twin = Cgroup::create(hierarchy, path).unwrap();
        let procs = twin.procs_path();
        self.cgroups.push(twin);
        procs
    }

    fn make(&mut self, path: &str) -> usize {
        let path = format!("{}/{path}", self.root);
        let cgroup = Cgroup::create(&self.world.hierarchy, path).unwrap();
        self.cgroups.push(cgroup);
        self.cgroups.len() - 1
    }

    pub(crate) fn cgroup(&self, number: usize) -> &Cgroup {
        &self.cgroups[number]
    }

    /// PID 1 of a container, which is there until the end.
    pub(crate) fn runs(&mut self, container: usize, hog: &[&str]) -> usize {
        let init = start_init(self.cgroup(container), self.world.hog(hog));
        self.keep(init)
    }

    /// A child dies, PID 1 lives on.
    pub(crate) fn child_dies(&mut self, container: usize) -> usize {
        let init = self.runs(container, &HERD);
        self.process(init).line("killed by SIGKILL");
        init
    }

    /// PID 1 dies.
    pub(crate) fn init_dies(&self, container: usize) {
        let init = start_init(self.cgroup(container), self.world.hog(&GROW));
        init.end().killed();
    }

    /// A process in the PID namespace of another, with its parent outside.
    pub(crate) fn beside(&self, container: usize, init: usize, hog: &[&str]) -> Running {
        let init = &self.processes[init];
        start_beside(self.cgroup(container), self.world.hog(hog), init)
    }

    /// Keeps a process until the end.
    pub(crate) fn keep(&mut self, process: Running) -> usize {
        self.processes.push(process);
        self.processes.len() - 1
    }

    pub(crate) fn process(&mut self, number: usize) -> &mut Running {
        &mut self.processes[number]
    }

    /// What has to come of a container's kills.
    pub(crate) fn want(&mut self, pod: &str, container: &str, wanted: Wanted) {
        let key = (pod.to_owned(), container.to_owned());
        assert!(self.wanted.insert(key, wanted).is_none(), "told twice");
    }

    /// What has to be on a workload's series: `shop/deployment/cart/app`.
    pub(crate) fn want_workload(&mut self, workload: &str, outcome: &str, events: u64) {
        let series = workload_series(workload, outcome);
        self.wanted_workloads.insert(series, events);
    }

    /// The records of a pod of that name.
    pub(crate) fn records_of(&self, name: &str) -> Vec<Record> {
        let mut records = self.daemon.kills(None);
        records.retain(|record| {
            let pod = record.pod.as_ref();
            pod.is_some_and(|pod| pod.name.as_deref() == Some(name))
        });
        records
    }

    /// Those of our kills that `oom-probe kills` prints with these flags.
    pub(crate) fn listed(&self, flags: &[&str]) -> Vec<Record> {
        let output = Command::new(&self.world.programs().oom_probe)
            .args(["kills", "--output", "json", "--url", &self.daemon.url()])
            .args(flags)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let lines = printed.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|record| self.world.is_ours(record))
            .collect()
    }

    /// Whether the daemon says that it knows all pods.
    pub(crate) fn is_synced(&self) -> bool {
        self.daemon.metrics().value("oom_probe_kubernetes_synced") == 1
    }

    /// Waits until the daemon has it so.
    pub(crate) fn until(&self, what: &str, done: impl Fn() -> bool) {
        wait::until_so(what, done, || self.daemon.log());
    }

    /// Waits until the daemon knows the pod, or knows it no more, by the series at 0.
    pub(crate) fn until_known(&self, pod: &str, known: bool) {
        let label = [format!("pod=\"{pod}\"")];
        self.until(&format!("pod {pod} is known: {known}"), || {
            let metrics = self.daemon.metrics();
            (metrics.count("oom_probe_container_oom_kills_total", &label) > 0) == known
        });
    }

    /// Holds everything that the daemon counted, told and posted against what had to come.
    pub(crate) fn conclude(&self) {
        let wanted = self.wanted();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.found();
            if found == wanted {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "missing: {:#?}\nsurplus: {:#?}\n{}",
                less(&wanted, &found),
                less(&found, &wanted),
                self.daemon.log()
            );
            thread::sleep(PAUSE);
        }
        for ((pod, container), wanted) in &self.wanted {
            for record in self.records_of(pod) {
                let of = record.pod.as_ref().and_then(|pod| pod.container.as_deref());
                assert!(
                    of != Some(container) || wanted.attribution.contains(&record.attribution),
                    "{:?}: {}",
                    wanted.attribution,
                    shown(&[record])
                );
            }
        }
        let unaccounted = "oom_probe_unaccounted_kills";
        assert_eq!(self.daemon.metrics().value(unaccounted), 0);
    }

    fn wanted(&self) -> Counts {
        let mut counts = self.wanted_workloads.clone();
        for ((pod, container), wanted) in &self.wanted {
            counts.extend(container_series(pod, container, wanted));
            counts.insert(format!("records {pod} {container}"), wanted.kills);
            for reason in wanted.reasons {
                *counts
                    .entry(format!("Event {reason} {pod} {container}"))
                    .or_default() += 1;
            }
        }
        counts
    }

    /// All counters of containers and workloads that are not 0, all records of containers whose
    /// name is known, and all Events.
    fn found(&self) -> Counts {
        let metrics = self.daemon.metrics();
        let mut counts: Counts = ["oom_probe_container_", "oom_probe_workload_"]
            .into_iter()
            .flat_map(|prefix| metrics.counted(prefix))
            .collect();
        let records = self.daemon.kills(None);
        let records = records.iter().filter_map(|record| {
            let pod = record.pod.as_ref()?;
            let (name, container) = (pod.name.as_ref()?, pod.container.as_ref()?);
            Some(format!("records {name} {container}"))
        });
        for line in records.chain(self.server.events().iter().map(event)) {
            *counts.entry(line).or_default() += 1;
        }
        counts
    }
}

/// What was counted, by what it is.
type Counts = BTreeMap<String, u64>;

/// Those that the others do not have, or not so many.
fn less(counts: &Counts, others: &Counts) -> Counts {
    let mut less = counts.clone();
    less.retain(|what, count| others.get(what) != Some(count));
    less
}

/// `Event reason pod container`.
fn event(event: &Value) -> String {
    let object = &event["involvedObject"];
    let field = object["fieldPath"].as_str();
    let container = field
        .and_then(|field| field.split_once('{'))
        .map_or(SANDBOX, |(_, name)| name.trim_end_matches('}'));
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let (reason, pod) = (text(&event["reason"]), text(&object["name"]));
    format!("Event {reason} {pod} {container}")
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // The last ones first: PID 1 of a namespace is not gone before all others are reaped, and the
        // cgroups made last are below those made first.
        while self.processes.pop().is_some() {}
        while self.cgroups.pop().is_some() {}
    }
}

/// A cgroup's path below the root of the hierarchy.
fn below_root(world: &World, cgroup: &Cgroup) -> String {
    let path = cgroup.directory().strip_prefix(&world.hierarchy.root);
    path.expect("it is in this hierarchy").display().to_string()
}

/// A kill whose container was known, or known no more.
pub(crate) const EITHER: &[Attribution] = &[Attribution::Live, Attribution::Tombstone];
