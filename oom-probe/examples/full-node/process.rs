//! The daemon under measurement, in a cgroup of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hog::cgroup::{Cgroup, Hierarchy};

use crate::apiserver::ApiServer;
use crate::mounts::Mount;

/// `oom-probe run`; ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Kept open: the daemon would get EPIPE.
    _stderr: BufReader<ChildStderr>,
    pub(crate) address: SocketAddr,
    cgroup: Cgroup,
    // Unmounted before its directory goes.
    _bpffs: Mount,
    _scratch: tempfile::TempDir,
}

/// Of /proc/PID/status, bytes.
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    pub(crate) anon: u64,
}

impl Daemon {
    /// Starts it as a DaemonSet does, with pins and state, with that API server and room for that many
    /// containers, and waits until it captures. In a mount namespace of this process's own.
    pub(crate) fn start(program: &Path, server: &ApiServer, containers: u32) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let name = format!("oom-probe-full-node-{}", std::process::id());
        let cgroup = Cgroup::create(&Hierarchy::detect()?, name)?;
        let [bpffs, state] = ["bpf", "state"].map(|name| scratch.path().join(name));
        fs::create_dir(&bpffs)?;
        let bpffs = Mount::new(c"bpf", &bpffs, None);
        let mut command = Command::new(program);
        command
            .args(["run", "--kubernetes", "on", "--node", "node-1"])
            .args(["--output", "none", "--listen", "127.0.0.1:0"])
            .arg("--pin-dir")
            .arg(bpffs.path().join("oom-probe"))
            .arg("--state-dir")
            .arg(state)
            .args(["--max-containers", &containers.to_string()])
            .env("KUBECONFIG", server.kubeconfig(scratch.path()))
            .stderr(Stdio::piped());
        let mut child = cgroup.spawn(command)?;
        let mut stderr = BufReader::new(child.stderr.take().context("its stderr is piped")?);
        let mut said = String::new();
        while stderr.read_line(&mut said)? > 0 {
            let address = said
                .split_once("http://")
                .and_then(|(_, rest)| rest.split_once("/metrics"));
            if let Some((address, _)) = address {
                return Ok(Self {
                    address: address.parse()?,
                    child,
                    _stderr: stderr,
                    cgroup,
                    _bpffs: bpffs,
                    _scratch: scratch,
                });
            }
        }
        child.wait()?;
        bail!("the daemon ended before it was armed:\n{said}")
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = self.read("status")?;
        Ok(Memory {
            resident: field(&status, "VmRSS:")? * 1024,
            peak: field(&status, "VmHWM:")? * 1024,
            anon: field(&status, "RssAnon:")? * 1024,
        })
    }

    /// What the kubelet calls so: charged to the cgroup, less file pages that nobody uses.
    pub(crate) fn working_set(&self) -> Result<u64> {
        let stat = fs::read_to_string(self.cgroup.directory().join("memory.stat"))?;
        let inactive =
            field(&stat, "total_inactive_file").or_else(|_| field(&stat, "inactive_file"))?;
        Ok(self.cgroup.usage()?.saturating_sub(inactive))
    }

    pub(crate) fn voluntary_switches(&self) -> Result<u64> {
        let switches = |status: &str| field(status, "voluntary_ctxt_switches:");
        self.threads("status")?
            .iter()
            .map(|status| switches(status))
            .sum()
    }

    /// Time on a CPU.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let time = |text: &String| -> Result<Duration> {
            let first = text.split_whitespace().next();
            Ok(Duration::from_nanos(
                first.context("schedstat is empty")?.parse()?,
            ))
        };
        self.threads("schedstat")?.iter().map(time).sum()
    }

    /// That file of each thread.
    fn threads(&self, file: &str) -> Result<Vec<String>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()))?;
        tasks
            .map(|task| Ok(fs::read_to_string(task?.path().join(file))?))
            .collect()
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only where it has ended and been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Result<u64> {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .find_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("there is no {name}"))
}
