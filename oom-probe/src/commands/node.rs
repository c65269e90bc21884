//! Where the node is looked at.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    capture::{btf::KERNEL_BTF, environment::Sources},
    cgroup::hierarchy::{CGROUP_ROOT, MemoryRoot},
};

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
