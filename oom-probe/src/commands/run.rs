//! `oom-probe run`: the flags.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::args::{DaemonArgs, NodeArgs, duration};
use crate::{
    capture::{pin::PIN_DIR, ring::RingSize},
    daemon::{self, config::Config},
    journal::STATE_DIR,
    kube::client,
    service,
    sinks::{kube_events, log, metrics::containers::MAX_CONTAINERS},
};

/// The flags of `oom-probe run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Where /metrics, /healthz, /readyz and /api/v1/kills are served
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9550",
        env = "OOM_PROBE_LISTEN"
    )]
    pub listen: SocketAddr,

    /// What the daemons have in common.
    #[command(flatten)]
    pub daemon: DaemonArgs,

    /// Whether to ask the API server for the pods of this node
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value_t,
        env = "OOM_PROBE_KUBERNETES"
    )]
    pub kubernetes: client::Mode,

    /// For which OOM events a Kubernetes Event is made
    #[arg(
        long,
        value_enum,
        value_name = "WHICH",
        default_value_t,
        env = "OOM_PROBE_EVENTS"
    )]
    pub events: kube_events::Mode,

    /// How long the series of a container that is gone are kept if they counted anything
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration, env = "OOM_PROBE_SERIES_TTL")]
    pub series_ttl: Duration,

    /// At most so many containers have series
    #[arg(long, value_name = "N", default_value_t = MAX_CONTAINERS, env = "OOM_PROBE_MAX_CONTAINERS")]
    pub max_containers: usize,

    /// What goes to standard output for each kill [default: text on a terminal, else json]
    #[arg(long, value_enum, value_name = "FORMAT", env = "OOM_PROBE_OUTPUT")]
    pub output: Option<log::Format>,

    /// How many kills /api/v1/kills remembers
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        env = "OOM_PROBE_HISTORY"
    )]
    pub history: usize,

    /// Where, on a bpffs, what captures is pinned, so that it goes on while no daemon runs
    #[arg(
        long,
        value_name = "DIR",
        default_value = PIN_DIR,
        conflicts_with = "no_pin",
        env = "OOM_PROBE_PIN_DIR"
    )]
    pub pin_dir: PathBuf,

    /// Do not keep capturing while no daemon runs
    #[arg(long, env = "OOM_PROBE_NO_PIN")]
    pub no_pin: bool,

    /// Room for records that wait to be read; 1M holds some 1,200 kills
    #[arg(
        long,
        value_name = "SIZE",
        default_value_t,
        env = "OOM_PROBE_RING_SIZE"
    )]
    pub ring_size: RingSize,

    /// Where counters, the last kills and the pods are kept over a restart
    /// [default: /var/lib/oom-probe; with --no-pin nowhere]
    #[arg(long, value_name = "DIR", env = "OOM_PROBE_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// Where the node is looked at.
    #[command(flatten)]
    pub node: NodeArgs,
}

impl RunArgs {
    fn config(self) -> anyhow::Result<Config> {
        self.node.refuse_wrong_cgroup_root()?;
        let state_dir = match self.state_dir {
            Some(directory) => Some(directory),
            None if self.no_pin => None,
            None => Some(STATE_DIR.into()),
        };
        Ok(Config {
            listen: self.listen,
            api_access: self.daemon.api_access(),
            node: self.daemon.node(),
            kubernetes: self.kubernetes,
            events: self.events,
            series_ttl: self.series_ttl,
            max_containers: self.max_containers,
            output: self
                .output
                .unwrap_or_else(|| log::Format::default_for(&io::stdout())),
            history: self.history,
            pin_dir: (!self.no_pin).then_some(self.pin_dir),
            ring_size: self.ring_size,
            state_dir,
            sources: self.node.sources(),
            kubepods_root: self.node.kubepods_root,
        })
    }
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// One line that names the cause and the remedy.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    service::run(args.daemon.log_level, || {
        service::block_on(daemon::run(args.config()?))
    })
}
