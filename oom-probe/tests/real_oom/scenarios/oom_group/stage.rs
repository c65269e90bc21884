//! A node with an API server, the probe, the daemon that keeps `memory.oom.group`, and containers as
//! runc makes them for a kubelet of 1.28 and later.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hog::cgroup::Cgroup;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::apiserver::pods::{PodJson, container_id, uid};
use crate::daemon::Daemon;
use crate::http;
use crate::wait;
use crate::world::World;

pub(super) const ANNOTATION: &str = "oom-probe.io/memory.oom.group";

/// The node. Fields are dropped in this order: whoever uses something before it.
pub(super) struct Stage<'w> {
    pub(super) probe: Daemon,
    pub(super) keeper: Keeper,
    pub(super) server: ApiServer,
    world: &'w World,
    pods: Cgroup,
    _scratch: tempfile::TempDir,
}

/// A pod with the annotation.
pub(super) fn annotated(mut pod: PodJson, value: &str) -> PodJson {
    pod.0["metadata"]["annotations"] = json!({ANNOTATION: value});
    pod
}

impl<'w> Stage<'w> {
    /// With these pods, none of which has a container yet.
    pub(super) fn set(world: &'w World, pods: &[&PodJson]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let server = ApiServer::start();
        for pod in pods {
            server.apply(pod);
        }
        let kubeconfig = server.kubeconfig(scratch.path());
        // The kubelet makes these when it starts.
        let cgroup = world.cgroup("kubepods/burstable");
        let mut run = Command::new(&world.programs().oom_probe);
        run.args(["run", "--node", "node-1"])
            .env("KUBECONFIG", &kubeconfig);
        let probe = Daemon::start_as(run, scratch.path()).unwrap();
        let keeper = Keeper::start(world, scratch.path(), &kubeconfig);
        let stage = Self {
            probe,
            keeper,
            server,
            world,
            pods: cgroup,
            _scratch: scratch,
        };
        stage.until("the probe knows the pods", || {
            let metrics = stage.probe.metrics();
            metrics.value("oom_probe_kubernetes_synced") == 1
        });
        stage.until("the daemon knows the pods", || {
            let metrics = stage.keeper.get("/metrics");
            metrics.contains("oom_probe_oom_group_kubernetes_synced 1")
        });
        stage
    }

    /// Waits for something that has to come.
    pub(super) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        wait::until_so(what, holds, || {
            let state = self.keeper.get("/api/v1/oom-group");
            format!("{state}{}", self.keeper.log())
        });
    }

    /// Makes a container's cgroup, and its pod's, with a limit and for a group kill.
    pub(super) fn container(&self, pod: u32, id: u32, limit: u64) -> Container {
        let below = format!("pod{}/{}", uid(pod), container_id(id));
        self.make(&self.pods, &below, Some(limit))
    }

    /// Makes a cgroup inside of a container, for group kills as well.
    pub(super) fn inside(&self, container: &Container, name: &str) -> Container {
        self.make(&container.cgroup, name, None)
    }

    fn make(&self, parent: &Cgroup, below: &str, limit: Option<u64>) -> Container {
        let cgroup = self.world.cgroup_in(parent, below);
        if let Some(limit) = limit {
            cgroup.set_limit(limit).unwrap();
        }
        if self.world.is_v2() {
            cgroup.set_oom_group(true).unwrap();
        }
        Container { cgroup }
    }
}

/// A container's cgroup.
pub(super) struct Container {
    pub(super) cgroup: Cgroup,
}

impl Container {
    pub(super) fn value(&self) -> String {
        let value = fs::read_to_string(self.cgroup.directory().join("memory.oom.group"));
        value.unwrap().trim_end().to_owned()
    }
}

/// A running `oom-probe oom-group`, killed on drop.
pub(super) struct Keeper {
    child: std::cell::RefCell<Child>,
    log: PathBuf,
}

impl Keeper {
    fn start(world: &World, directory: &Path, kubeconfig: &Path) -> Self {
        let log = directory.join("oom-group.log");
        let child = oom_group(world)
            .args(["--listen", "127.0.0.1:0", "--node", "node-1"])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let keeper = Self {
            child: child.into(),
            log,
        };
        let serves = || keeper.log().contains("/metrics");
        wait::until_so("the daemon serves", serves, || keeper.log());
        keeper
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(super) fn get(&self, path: &str) -> String {
        let log = self.log();
        let (_, rest) = log.split_once("http://").expect("it serves");
        let address = rest.split('/').next().unwrap_or_default();
        http::get(address.parse().unwrap(), path).unwrap_or_else(|error| panic!("{error}\n{log}"))
    }

    pub(super) fn state(&self) -> Value {
        serde_json::from_str(&self.get("/api/v1/oom-group")).unwrap()
    }

    /// Stops it in good order; returns what it said.
    pub(super) fn stop(&self) -> String {
        let mut child = self.child.borrow_mut();
        // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        self.log()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Both fail only where it has ended and been reaped.
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Runs `oom-probe oom-group --put-back`; returns what it said.
pub(super) fn put_back(world: &World) -> String {
    let output = oom_group(world).arg("--put-back").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn oom_group(world: &World) -> Command {
    let mut command = Command::new(&world.programs().oom_probe);
    command.arg("oom-group");
    command
}
