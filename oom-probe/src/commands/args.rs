//! Flags that several commands take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

use crate::{
    capture::{btf::KERNEL_BTF, environment::Sources},
    cgroup::hierarchy::{CGROUP_ROOT, MemoryRoot},
    http::ApiAccess,
    sys::host_name,
};

/// What every daemon takes.
#[derive(Clone, Debug, Args)]
pub struct DaemonArgs {
    /// Serve /api/ to peers on other hosts too, not just to loopback
    #[arg(long, env = "OOM_PROBE_API_REMOTE")]
    pub api_remote: bool,

    /// Name of this node [default: the host's name]
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node: Option<String>,

    /// What the daemon says about itself on standard error: error, warn, info, debug, trace
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "OOM_PROBE_LOG_LEVEL"
    )]
    pub log_level: tracing::Level,
}

impl DaemonArgs {
    /// Who is served /api/.
    #[must_use]
    pub fn api_access(&self) -> ApiAccess {
        if self.api_remote {
            ApiAccess::Everyone
        } else {
            ApiAccess::Loopback
        }
    }

    /// Name of this node.
    #[must_use]
    pub fn node(&self) -> String {
        self.node.clone().unwrap_or_else(host_name)
    }
}

/// Where the node is looked at.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// The root of this node's cgroup hierarchies [default: /sys/fs/cgroup]
    #[arg(long, value_name = "DIR", env = "OOM_PROBE_CGROUP_ROOT")]
    pub cgroup_root: Option<PathBuf>,

    /// The cgroup below which the kubelet makes those of pods, from the root above; once for each
    /// [default: where this daemon's own pod is, else /kubepods*]
    #[arg(
        long,
        value_name = "DIR",
        value_delimiter = ',',
        env = "OOM_PROBE_KUBEPODS_ROOT"
    )]
    pub kubepods_root: Vec<PathBuf>,

    /// The node's procfs
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/proc",
        env = "OOM_PROBE_PROC_ROOT"
    )]
    pub proc_root: PathBuf,

    /// BTF of the running kernel
    #[arg(long, value_name = "FILE", default_value = KERNEL_BTF, env = "OOM_PROBE_BTF")]
    pub btf: PathBuf,
}

impl NodeArgs {
    /// The root of the cgroup hierarchies, named or not.
    #[must_use]
    pub fn cgroup_root(&self) -> &Path {
        self.cgroup_root.as_deref().unwrap_or(CGROUP_ROOT.as_ref())
    }

    /// Refuses a root of cgroups that was named and is none: nothing below it would ever be found.
    /// Where none was named the daemon captures without.
    ///
    /// # Errors
    /// One line that names the flag, the directory and the remedy.
    pub fn refuse_wrong_cgroup_root(&self) -> anyhow::Result<()> {
        match self.cgroup_root.as_deref().map(MemoryRoot::detect) {
            Some(Err(error)) if error.is_wrong_root() => anyhow::bail!("--cgroup-root: {error}"),
            _ => Ok(()),
        }
    }

    /// What the facts about the node are gathered from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources {
            btf: self.btf.clone(),
            proc_root: self.proc_root.clone(),
            cgroup_root: self.cgroup_root().to_owned(),
        }
    }
}

/// `1h`, `90m`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "it is no duration, such as 1h or 90m".to_owned())?;
    Duration::try_from(duration).map_err(|_| "it is below zero".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_write_them() {
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("90m"), Ok(Duration::from_secs(5400)));
        assert!(duration("-1h").is_err());
        assert!(duration("soon").is_err());
    }
}
