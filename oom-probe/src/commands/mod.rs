//! The command line: each flag has an environment variable and a default.

pub mod doctor;
pub mod kills;
mod node;
pub mod unpin;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use jiff::SignedDuration;

use crate::{
    capture::{pin::PIN_DIR, ring::RingSize},
    commands::{doctor::DoctorArgs, kills::KillsArgs, unpin::UnpinArgs},
    daemon::host_name,
    http::ApiAccess,
    journal::STATE_DIR,
    kube::client,
    oom_group::OomGroupArgs,
    sinks::{kube_events, log, metrics::containers::MAX_CONTAINERS},
    sys::mount_bpffs::MountBpffsArgs,
};
pub use node::NodeArgs;

/// Version, commit with its date, and what was built: for which machine, and where its kernel
/// programs come from.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("OOM_PROBE_BUILT_FROM"),
    ", ",
    env!("OOM_PROBE_ARCH"),
    ", kernel programs: ",
    env!("OOM_PROBE_EBPF_KIND"),
    ")"
);

/// Sees every OOM kill on this node, the invisible ones too.
#[derive(Debug, Parser)]
#[command(name = "oom-probe", version = VERSION)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Capture OOM kills until stopped
    Run(Box<RunArgs>),
    /// Show the kills that a running daemon has recorded
    Kills(KillsArgs),
    /// Tell what this node offers, what is missing and how to get it
    Doctor(DoctorArgs),
    /// Keep memory.oom.group of containers as their pods' annotations ask for
    OomGroup(OomGroupArgs),
    /// Mount a bpffs where a node has none
    MountBpffs(MountBpffsArgs),
    /// Remove what daemons have pinned, so that nothing captures any more
    Unpin(UnpinArgs),
}

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
    /// Where the state is kept, if anywhere.
    #[must_use]
    pub fn state_dir(&self) -> Option<&Path> {
        match &self.state_dir {
            Some(directory) => Some(directory),
            None if self.no_pin => None,
            None => Some(Path::new(STATE_DIR)),
        }
    }
}

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

/// The command of this process' arguments.
///
/// # Errors
/// The exit code, once help, the version or what was wrong has been printed.
pub fn parse() -> Result<Command, ExitCode> {
    Cli::try_parse().map(|cli| cli.command).map_err(|error| {
        // Without a command the help is the answer: it is not one line, but shows them all.
        if error.use_stderr() && error.kind() != MISSING_COMMAND {
            eprintln!("oom-probe: {}", one_line(&error.render().to_string()));
        } else {
            // Nobody may be left to read it.
            let _ = error.print();
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

const MISSING_COMMAND: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// A message of clap without its usage, on one line.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let lines = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .filter(|line| !line.starts_with("Usage:"))
        .map(|line| {
            ["tip: ", "For more information, "]
                .iter()
                .find_map(|words| line.strip_prefix(words))
                .unwrap_or(line)
        })
        .map(|line| line.trim_end_matches('.'));
    lines.collect::<Vec<_>>().join("; ")
}

/// `1h`, `90m`, `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "it is no duration, such as 1h or 90m".to_owned())?;
    Duration::try_from(duration).map_err(|_| "it is below zero".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_told_in_one_line() {
        for (arguments, expected) in [
            (
                &["run", "--listn", "x"][..],
                "unexpected argument '--listn' found; \
                 a similar argument exists: '--listen'; \
                 try '--help'",
            ),
            (
                &["run", "--listen", "x"],
                "invalid value 'x' for '--listen <ADDRESS>': invalid socket address syntax; \
                 try '--help'",
            ),
            (
                &["kills", "--output", "xml"],
                "invalid value 'xml' for '--output <FORMAT>'; \
                 [possible values: table, json]; \
                 try '--help'",
            ),
        ] {
            let error = Cli::try_parse_from(["oom-probe"].iter().chain(arguments)).unwrap_err();
            assert_eq!(one_line(&error.render().to_string()), expected);
        }
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("90m"), Ok(Duration::from_secs(5400)));
        assert!(duration("-1h").is_err());
        assert!(duration("soon").is_err());
    }
}
