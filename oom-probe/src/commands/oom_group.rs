//! `oom-probe oom-group`: the flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::args::DaemonArgs;
use crate::{
    cgroup::hierarchy::CGROUP_ROOT,
    oom_group::{self, Config, Tell},
    service,
};

/// The flags of `oom-probe oom-group`.
#[derive(Clone, Debug, Args)]
pub struct OomGroupArgs {
    /// Put back every value that was written on this node, and end
    #[arg(long)]
    pub put_back: bool,

    /// Where /metrics, /healthz, /readyz and /api/v1/oom-group are served
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9551",
        env = "OOM_PROBE_LISTEN"
    )]
    pub listen: SocketAddr,

    /// What the daemons have in common.
    #[command(flatten)]
    pub daemon: DaemonArgs,

    /// Whether pods are told by Kubernetes Events
    #[arg(
        long,
        value_enum,
        value_name = "WHICH",
        default_value_t,
        env = "OOM_PROBE_EVENTS"
    )]
    pub events: Tell,

    /// The root of this node's cgroup hierarchies, where they can be written to
    #[arg(
        long,
        value_name = "DIR",
        default_value = CGROUP_ROOT,
        env = "OOM_PROBE_CGROUP_ROOT"
    )]
    pub cgroup_root: PathBuf,

    /// The cgroup below which the kubelet makes those of pods, from the root above; once for each
    /// [default: where this daemon's own pod is, else /kubepods*]
    #[arg(
        long,
        value_name = "DIR",
        value_delimiter = ',',
        env = "OOM_PROBE_KUBEPODS_ROOT"
    )]
    pub kubepods_root: Vec<PathBuf>,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// One line that names the cause and the remedy.
pub fn run(args: OomGroupArgs) -> anyhow::Result<ExitCode> {
    let OomGroupArgs {
        put_back,
        listen,
        daemon,
        events,
        cgroup_root,
        kubepods_root,
    } = args;
    service::run(daemon.log_level, || {
        if put_back {
            return oom_group::put_back(&cgroup_root);
        }
        service::block_on(oom_group::run(Config {
            listen,
            api_access: daemon.api_access(),
            node: daemon.node(),
            events,
            cgroup_root,
            kubepods_root,
        }))
    })
}
