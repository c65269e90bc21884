//! A node as `deploy/` has it, but for Kubernetes: the daemon in a container with the mounts and
//! the rights of the DaemonSet, and containers that run out of memory beside it.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::container::Container;
use super::engine::Engine;
use super::mount::Bpffs;
use crate::image::Images;

/// What `ctr` gives every container and the DaemonSet none.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// What the DaemonSet adds, and the bits of these two in `/proc/PID/status`
/// (include/uapi/linux/capability.h).
const CAPABILITIES: [(&str, u32); 2] = [("CAP_PERFMON", 38), ("CAP_BPF", 39)];
/// The DaemonSet's memory limit.
const PROBE_LIMIT: u64 = 64 << 20;
/// The memory limit of a victim's container.
pub(super) const VICTIM_LIMIT: u64 = 32 << 20;
/// The hog's user.
pub(super) const VICTIM_USER: u64 = 65532;
/// How long a kill may take to be seen on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The directories that the node lends the daemon, and the images.
pub(super) struct Node<'a> {
    engine: &'a Engine,
    images: &'a Images,
    bpffs: Bpffs,
    state: PathBuf,
}

impl<'a> Node<'a> {
    /// Sets the directories up.
    ///
    /// # Errors
    /// They cannot be made, or bpffs cannot be mounted.
    pub(super) fn new(engine: &'a Engine, images: &'a Images, name: &str) -> Result<Self> {
        let directory = engine.path().join(name);
        let state = directory.join("state");
        fs::create_dir_all(&state).with_context(|| format!("make {}", state.display()))?;
        Ok(Self {
            engine,
            images,
            bpffs: Bpffs::mount(directory.join("bpf"))?,
            state,
        })
    }

    /// Runs the daemon by its image's own entry point, and waits until it captures.
    ///
    /// # Errors
    /// It does not capture; the error has its log.
    pub(super) fn probe(&self, name: &str) -> Result<Container<'a>> {
        let container = self.run(name, &[])?;
        container.says("capturing OOM kills")?;
        Ok(container)
    }

    /// Runs `oom-probe` with the mounts and rights of the DaemonSet.
    ///
    /// # Errors
    /// containerd cannot run it.
    pub(super) fn run(&self, name: &str, arguments: &[&str]) -> Result<Container<'a>> {
        let mount = |source: &std::path::Path, target: &str, options: &str| {
            let source = source.display();
            format!("--mount=type=bind,src={source},dst={target},options={options}")
        };
        let mut options = vec![
            "--seccomp".to_owned(),
            "--read-only".to_owned(),
            format!("--memory-limit={PROBE_LIMIT}"),
            mount(self.bpffs.path(), "/host/bpf", "rbind:rslave:rw"),
            mount("/sys/fs/cgroup".as_ref(), "/host/cgroup", "rbind:rslave:ro"),
            mount(&self.state, "/var/lib/oom-probe", "rbind:rw"),
            "--env=OOM_PROBE_CGROUP_ROOT=/host/cgroup".to_owned(),
            "--env=NODE_NAME=node-1".to_owned(),
        ];
        options.extend(DEFAULT_CAPABILITIES.map(|name| format!("--cap-drop={name}")));
        options.extend(CAPABILITIES.map(|(name, _)| format!("--cap-add={name}")));
        let image = &self.images.oom_probe.name;
        Container::run(self.engine, name, image, &options, arguments)
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

/// Whether a process has no more rights than the DaemonSet gives.
///
/// # Errors
/// What it may do beyond that.
pub(super) fn check_rights(status: &str, mounts: &str) -> Result<()> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
            .with_context(|| format!("no {name} in {status}"))
    };
    let allowed: u64 = CAPABILITIES.iter().map(|(_, bit)| 1 << bit).sum();
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
        assert!(check_rights(&status("000000c000000000"), ROOT).is_ok());
        assert!(check_rights(&status("0000000000000000"), ROOT).is_ok());
        let error = check_rights(&status("000000c000200000"), ROOT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CapEff: c000200000 is more than c000000000"
        );
        let new = status("0000000000000000").replace("NoNewPrivs:\t1", "NoNewPrivs:\t0");
        assert!(check_rights(&new, ROOT).is_err());
        assert!(check_rights(&status("0"), &ROOT.replace(" ro,", " rw,")).is_err());
    }
}
