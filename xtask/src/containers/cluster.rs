//! Pods on the node: containers where a kubelet has them, and an API server that knows them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::api::{ApiServer, CA, kubeconfig};
use super::container::Container;
use super::engine::{Engine, PATIENCE};
use super::node::{Node, VICTIM_LIMIT};
use crate::image::Images;

/// Where the probe finds how to reach the API server.
const KUBECONFIG: &str = "/kube/kubeconfig";
const CA_FILE: &str = "/kube/ca.pem";
const PAUSE: Duration = Duration::from_millis(100);

/// A pod with one container.
pub(super) struct KubePod {
    name: &'static str,
    uid: String,
    id: String,
}

impl KubePod {
    /// The digits make its UID and its container's id, which nobody else has.
    pub(super) fn new(name: &'static str, digit: char) -> Self {
        let digits = |count: usize| digit.to_string().repeat(count);
        let process = std::process::id();
        Self {
            name,
            uid: format!(
                "{process:08x}-{0}-4{1}-8{1}-{2}",
                digits(4),
                digits(3),
                digits(12)
            ),
            id: format!("{process:08x}{}", digits(56)),
        }
    }

    /// Its container's cgroup, as the kubelet's cgroupfs driver has it.
    fn cgroup(&self) -> String {
        let Self { uid, id, .. } = self;
        format!("/kubepods/burstable/pod{uid}/{id}")
    }

    /// As the API server has it.
    fn object(&self) -> Value {
        let Self { name, uid, id } = self;
        json!({
            "metadata": {"name": name, "namespace": "shop", "uid": uid},
            "spec": {
                "nodeName": super::node::NAME,
                "containers": [{"name": "app", "image": "registry/app:1"}],
            },
            "status": {"phase": "Running", "qosClass": "Burstable", "containerStatuses": [{
                "name": "app", "containerID": format!("containerd://{id}"),
                "state": {"running": {"startedAt": "2025-11-20T12:00:10Z"}},
            }]},
        })
    }
}

/// The probe, and the API server that it asks.
pub(super) struct Cluster<'a> {
    engine: &'a Engine,
    images: &'a Images,
    pub(super) probe: Container<'a>,
    api: ApiServer,
    /// The first is removed first: what runs in a cgroup goes before the cgroup.
    running: Vec<Container<'a>>,
    _kubepods: Kubepods,
}

impl<'a> Cluster<'a> {
    /// Runs the probe as its DaemonSet does, and waits until it knows the pods.
    ///
    /// # Errors
    /// It does not come to know them; the error has its log.
    pub(super) fn start(
        engine: &'a Engine,
        images: &'a Images,
        node: &Node<'a>,
        pods: &[KubePod],
    ) -> Result<Self> {
        let directory = engine.path().join("kube");
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("ca.pem"), CA)?;
        let config = kubeconfig(CA_FILE).to_string();
        fs::write(directory.join("kubeconfig"), config)?;
        let options = [
            format!("--env=KUBECONFIG={KUBECONFIG}"),
            format!(
                "--mount=type=bind,src={},dst=/kube,options=rbind:ro",
                directory.display()
            ),
        ];
        let probe = node.probe_of_cluster("outcomes", &options)?;
        let objects = pods.iter().map(KubePod::object).collect();
        let api = ApiServer::start(&probe.pid()?, objects)?;
        probe.says(&format!("are known: {}", pods.len()))?;
        Ok(Self {
            engine,
            images,
            probe,
            api,
            running: Vec::new(),
            _kubepods: Kubepods::new(pods),
        })
    }

    /// Runs a hog in the pod's container, and waits until it or its child was killed. It is there until
    /// the end.
    ///
    /// # Errors
    /// It does not come out like that.
    pub(super) fn dies(&mut self, pod: &KubePod, hog: &[&str], until: Until) -> Result<()> {
        let options = [
            "--seccomp".to_owned(),
            format!("--memory-limit={VICTIM_LIMIT}"),
            format!("--cgroup={}", pod.cgroup()),
        ];
        let command = [&["/hog"], hog].concat();
        let image = &self.images.hog.name;
        let container = Container::run(self.engine, &pod.id, image, &options, &command)?;
        match until {
            Until::Says(text) => container.says(text)?,
            Until::Ends => container.wait()?,
        }
        self.running.push(container);
        Ok(())
    }

    /// Waits until there are Events of the pods with these reasons.
    ///
    /// # Errors
    /// Others come, or none.
    pub(super) fn tells(&self, expected: &[(&str, &str)]) -> Result<()> {
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            let events = self.api.events();
            let pairs = events.iter().map(|(pod, reason)| (&**pod, &**reason));
            if pairs.eq(expected.iter().copied()) {
                return Ok(());
            }
            if events.len() > expected.len() || Instant::now() > deadline {
                bail!(
                    "Events {events:?}, not {expected:?}; the daemon said: {}",
                    self.probe.said()
                );
            }
            thread::sleep(PAUSE);
        }
    }

    /// Fails where the probe sees processes of the node.
    ///
    /// # Errors
    /// It does, or it does not run.
    pub(super) fn check_pid_namespace(&self) -> Result<()> {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid"));
        let (probe, own) = (of(&self.probe.pid()?)?, of("self")?);
        ensure!(probe != own, "the probe shares the node's PID namespace");
        Ok(())
    }
}

/// What is waited for.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// The container has said that.
    Says(&'static str),
    /// The container has ended.
    Ends,
}

/// Cgroups that runc makes above a container's and leaves, removed on drop. What was there before
/// stays.
struct Kubepods(Vec<PathBuf>);

impl Kubepods {
    fn new(pods: &[KubePod]) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
        let hierarchies: Vec<_> = hierarchies
            .map(|entry| entry.path())
            .chain([root.to_owned()])
            .filter(|hierarchy| hierarchy.join("cgroup.procs").is_file())
            .collect();
        let above = |pod: &KubePod| {
            let cgroup = PathBuf::from(pod.cgroup().trim_start_matches('/'));
            let above: Vec<_> = cgroup.ancestors().skip(1).map(Path::to_owned).collect();
            above
        };
        let made = pods.iter().flat_map(above).flat_map(|path| {
            let in_each = hierarchies
                .iter()
                .map(move |hierarchy| hierarchy.join(&path));
            in_each.collect::<Vec<_>>()
        });
        let root_of_none = |path: &PathBuf| !hierarchies.contains(path) && !path.exists();
        let mut made: Vec<_> = made.filter(root_of_none).collect();
        made.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        made.dedup();
        Self(made)
    }
}

impl Drop for Kubepods {
    fn drop(&mut self) {
        for path in &self.0 {
            let removed =
                fs::remove_dir(path).with_context(|| format!("remove {}", path.display()));
            if let Err(error) = removed
                && path.exists()
            {
                eprintln!("left behind: {error:#}");
            }
        }
    }
}
