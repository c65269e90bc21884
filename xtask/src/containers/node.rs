//! A node as `deploy/` has it, but for Kubernetes: the daemon in a container with the mounts and
//! the rights of the DaemonSet, and containers that run out of memory beside it.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::container::{Container, run_to_end};
use super::engine::{Engine, PATIENCE};
use super::mount::Bpffs;
use super::pod::{self, HostPath, HostPathType, Pod};
use crate::image::Images;

/// The bits of what the DaemonSet adds in `/proc/PID/status`: CAP_PERFMON and CAP_BPF of
/// include/uapi/linux/capability.h.
pub(super) const PROBE_CAPABILITIES: u64 = 1 << 38 | 1 << 39;
/// What the manifests call a node by.
pub(super) const NAME: &str = "node-1";
/// The memory limit of a victim's container.
pub(super) const VICTIM_LIMIT: u64 = 32 << 20;
/// The hog's user.
pub(super) const VICTIM_USER: u64 = 65532;

/// The machine as a node of its own: its directories are below one of the test's, but for the
/// cgroups.
pub(super) struct Node<'a> {
    engine: &'a Engine,
    images: &'a Images,
    root: PathBuf,
    bpffs: Bpffs,
    /// What was in its directories before all else: into each bpffs a kernel may put iterators of
    /// its own (`populate_bpffs` of kernel/bpf/inode.c).
    own: Vec<PathBuf>,
}

impl<'a> Node<'a> {
    /// Sets the directories up that every node has.
    ///
    /// # Errors
    /// They cannot be made, or bpffs cannot be mounted.
    pub(super) fn new(engine: &'a Engine, images: &'a Images, name: &str) -> Result<Self> {
        let root = engine.path().join(name);
        let mut node = Self {
            engine,
            images,
            bpffs: Bpffs::mount(root.join("sys/fs/bpf"))?,
            root,
            own: Vec::new(),
        };
        let lib = node.lib();
        fs::create_dir_all(&lib).with_context(|| format!("make {}", lib.display()))?;
        node.own = node.left()?;
        Ok(node)
    }

    /// Its `/var/lib`.
    fn lib(&self) -> PathBuf {
        self.root.join("var/lib")
    }

    /// What probes have left in its bpffs and in its `/var/lib`.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn left(&self) -> Result<Vec<PathBuf>> {
        let mut left = Vec::new();
        for directory in [self.bpffs.path(), &self.lib()] {
            for entry in fs::read_dir(directory)? {
                left.push(entry?.path());
            }
        }
        left.retain(|path| !self.own.contains(path));
        Ok(left)
    }

    /// Runs the probe as its DaemonSet does, and waits until it captures.
    ///
    /// # Errors
    /// It does not capture; the error has its log.
    pub(super) fn probe(&self, name: &str) -> Result<Container<'a>> {
        let pod = Pod::of_daemon_set("manifests/plain.yaml", "oom-probe")?;
        let container = self.run(name, &pod, pod.container()?)?;
        container.says("capturing OOM kills")?;
        Ok(container)
    }

    /// The same with an API server to ask, which further options of `ctr run` say how to reach.
    ///
    /// # Errors
    /// As [`Self::probe`].
    pub(super) fn probe_of_cluster(&self, name: &str, more: &[String]) -> Result<Container<'a>> {
        let pod = Pod::of_daemon_set("manifests/plain.yaml", "oom-probe")?;
        let container = pod.container()?;
        let options = pod.options(container, NAME, |host| self.directory(host))?;
        let options = [&options, more].concat();
        let command: Vec<_> = in_image(container).collect();
        let container = Container::run(self.engine, name, &container.image, &options, &command)?;
        container.says("capturing OOM kills")?;
        Ok(container)
    }

    /// Runs a container of a pod.
    ///
    /// # Errors
    /// containerd cannot run it, or the pod asks for what this node does not have.
    pub(super) fn run(
        &self,
        name: &str,
        pod: &Pod,
        container: &pod::Container,
    ) -> Result<Container<'a>> {
        let options = pod.options(container, NAME, |host| self.directory(host))?;
        let image = &container.image;
        Container::run(self.engine, name, image, &options, &command(container))
    }

    /// Runs a container of a pod to its end, and gives what it said.
    ///
    /// # Errors
    /// It fails, or as [`Self::run`].
    pub(super) fn run_to_end(
        &self,
        name: &str,
        pod: &Pod,
        container: &pod::Container,
    ) -> Result<String> {
        let options = pod.options(container, NAME, |host| self.directory(host))?;
        let image = &container.image;
        run_to_end(self.engine, name, image, &options, &command(container))
    }

    /// A directory of the node, as the kubelet finds or makes it.
    fn directory(&self, host: &HostPath) -> Result<PathBuf> {
        let HostPath { path, r#type } = host;
        if path == Path::new("/sys/fs/cgroup") {
            return Ok(path.clone());
        }
        let directory = self.root.join(path.strip_prefix("/")?);
        if *r#type == HostPathType::DirectoryOrCreate {
            fs::create_dir_all(&directory)?;
        }
        ensure!(directory.is_dir(), "the node has no {}", path.display());
        Ok(directory)
    }

    /// A container whose parent lives on while its child runs out of memory; returns when that is
    /// over.
    ///
    /// # Errors
    /// It does not come out like that.
    pub(super) fn victim(&self, id: &str) -> Result<()> {
        let options = [
            "--seccomp".to_owned(),
            format!("--memory-limit={VICTIM_LIMIT}"),
        ];
        let herd = ["/hog", "herd", "--children", "1", "--max", "forever"];
        let fast = ["--interval", "0ms", "--step", "1M"];
        let image = &self.images.hog.name;
        let hog = Container::run(
            self.engine,
            id,
            image,
            &options,
            &[&herd[..], &fast].concat(),
        )?;
        hog.says("1 of 1 children killed by SIGKILL, parent alive")?;
        hog.wait()
    }

    /// The kills of that container as the daemon's own command line tells them, once there are so
    /// many.
    ///
    /// # Errors
    /// There are fewer, or more.
    pub(super) fn kills(
        &self,
        probe: &mut Container<'_>,
        id: &str,
        expected: usize,
    ) -> Result<Vec<Value>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = probe.exec(&["oom-probe", "kills", "--output", "json"])?;
            let kills = told
                .lines()
                .map(serde_json::from_str)
                .collect::<Result<Vec<Value>, _>>()
                .with_context(|| format!("`oom-probe kills` says {told}"))?;
            let of_container = |kill: &Value| kill["host"]["container_id"] == id;
            let mine: Vec<_> = kills.into_iter().filter(of_container).collect();
            if mine.len() == expected {
                return Ok(mine);
            }
            if mine.len() > expected || Instant::now() > deadline {
                bail!(
                    "{} kills of {id} instead of {expected}: {mine:?}; the daemon said: {}",
                    mine.len(),
                    probe.said()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The cgroup of a container, as kill records have it.
    pub(super) fn cgroup(&self, id: &str) -> String {
        format!("/{}/{id}", self.engine.namespace())
    }
}

/// The image's entry point, which `ctr` replaces by what it is given, and the manifest's arguments.
fn in_image(container: &pod::Container) -> impl Iterator<Item = &str> {
    let arguments = container.args.iter().map(String::as_str);
    iter::once("/oom-probe").chain(arguments)
}

/// The same where there is no API server, so that none is waited for.
fn command(container: &pod::Container) -> Vec<&str> {
    let off = |argument| match argument {
        "--kubernetes=on" => "--kubernetes=off",
        argument => argument,
    };
    in_image(container).map(off).collect()
}

/// Whether a process has no more rights than these capabilities.
///
/// # Errors
/// What it may do beyond that.
pub(super) fn check_rights(status: &str, mounts: &str, allowed: u64) -> Result<()> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
            .with_context(|| format!("no {name} in {status}"))
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        let held = u64::from_str_radix(field(set)?, 16)?;
        ensure!(
            held & !allowed == 0,
            "{set} {held:x} is more than {allowed:x}"
        );
    }
    ensure!(field("NoNewPrivs:")? == "1", "it may gain privileges");
    ensure!(field("Seccomp:")? == "2", "no seccomp profile is in force");
    let root = mounts
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/"));
    let options = root.and_then(|line| line.split(' ').nth(5));
    let read_only = options.is_some_and(|options| options.split(',').any(|o| o == "ro"));
    ensure!(read_only, "its root can be written: {root:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "69 45 254:0 /snapshots/3 / ro,relatime - ext4 /dev/vda rw\n";

    fn status(effective: &str) -> String {
        format!(
            "CapInh:\t0000000000000000\nCapPrm:\t000000c000000000\nCapEff:\t{effective}\n\
             CapBnd:\t000000c000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
        )
    }

    #[test]
    fn two_capabilities_and_nothing_more_are_taken() {
        let check = |status: &str, mounts: &str| check_rights(status, mounts, PROBE_CAPABILITIES);
        assert!(check(&status("000000c000000000"), ROOT).is_ok());
        assert!(check(&status("0000000000000000"), ROOT).is_ok());
        let error = check(&status("000000c000200000"), ROOT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CapEff: c000200000 is more than c000000000"
        );
        let new = status("0000000000000000").replace("NoNewPrivs:\t1", "NoNewPrivs:\t0");
        assert!(check(&new, ROOT).is_err());
        assert!(check(&status("0"), &ROOT.replace(" ro,", " rw,")).is_err());
        assert!(
            check_rights(&status("0"), ROOT, 0).is_err(),
            "CapPrm holds two"
        );
    }
}
