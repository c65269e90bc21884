//! CPU time as services and pods of a node share it: in cgroups, each of which has its weight. As
//! processes of one cgroup eight hogs would leave a ninth of it to the daemon.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use hog::cgroup::{Hierarchy, Version, control};

use super::tidy;

/// Where cgroup v1 has the CPU controller.
const V1: [&str; 2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"];
const V2: &str = "/sys/fs/cgroup";

/// A cgroup at the top with a share of the CPUs; removed when this is dropped.
pub(super) struct Share {
    directory: PathBuf,
}

impl Share {
    /// A share of a service's weight, or of that of a pod which asks for so many thousandths of a
    /// CPU. None where the CPU controller is not to be had.
    pub(super) fn new(name: &str, requested: Option<u32>) -> Result<Option<Self>> {
        let version = Hierarchy::detect()?.version;
        let Some(root) = root(version) else {
            return Ok(None);
        };
        // There may be two daemons at a time.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = root.join(format!("{}-{name}-{n}", tidy::name()));
        fs::create_dir(&directory).with_context(|| format!("mkdir {}", directory.display()))?;
        let share = Self { directory };
        if let Some(millis) = requested {
            let (file, weight) = weight(version, millis);
            control::write(&share.directory.join(file), &weight.to_string())?;
        }
        Ok(Some(share))
    }

    /// The share of what is killed; none on v2, where a storm's cgroup is that for CPU time, too.
    pub(super) fn of_hogs() -> Result<Option<Self>> {
        match Hierarchy::detect()?.version {
            Version::V1 => Self::new("hogs", None),
            Version::V2 => Ok(None),
        }
    }

    /// Puts the calling thread into it, and so what that starts from now on. On v1 only.
    pub(super) fn enter(&self) -> Result<()> {
        Ok(control::write(&self.directory.join("tasks"), "0")?)
    }

    /// Lets a process begin in it.
    pub(super) fn join(&self, command: &mut Command) -> Result<()> {
        let procs = control::open(&self.directory.join("cgroup.procs"))?;
        // SAFETY: between fork and exec only write(2) runs, on a file that was opened before and
        // that the closure owns; it neither allocates nor takes a lock.
        unsafe { command.pre_exec(move || (&procs).write_all(b"0")) };
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.directory) {
            eprintln!("bench: rmdir {}: {error}", self.directory.display());
        }
    }
}

/// Where its cgroups are.
pub(super) fn root(version: Version) -> Option<PathBuf> {
    match version {
        Version::V1 => V1.map(PathBuf::from).into_iter().find(|path| path.is_dir()),
        Version::V2 => {
            let file = Path::new(V2).join("cgroup.subtree_control");
            let controllers = fs::read_to_string(file).ok()?;
            let has_cpu = controllers.split_whitespace().any(|name| name == "cpu");
            has_cpu.then(|| V2.into())
        }
    }
}

/// The file and the weight in it, as the kubelet and runc reckon (kubelet `MilliCPUToShares`, runc
/// `ConvertCPUSharesToCgroupV2Value` until 1.3).
fn weight(version: Version, millis: u32) -> (&'static str, u32) {
    let shares = (millis * 1024 / 1000).max(2);
    match version {
        Version::V1 => ("cpu.shares", shares),
        Version::V2 => ("cpu.weight", 1 + (shares - 2) * 9999 / 262_142),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_a_kubelet() {
        for (millis, v1, v2) in [(0, 2, 1), (10, 10, 1), (100, 102, 4), (1000, 1024, 39)] {
            assert_eq!(weight(Version::V1, millis), ("cpu.shares", v1));
            assert_eq!(weight(Version::V2, millis), ("cpu.weight", v2));
        }
    }
}
