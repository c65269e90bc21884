//! What `oom-probe run` is to do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{
    http::ApiAccess,
    kube::client,
    sinks::{kube_events, log},
};
use capture::{environment::Sources, ring::RingSize};

/// What the daemon is to do. Each field is a flag of `oom-probe run`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Who is served /api/.
    pub api_access: ApiAccess,
    /// Name of this node.
    pub node: String,
    /// Whether to ask the API server for pods.
    pub kubernetes: client::Mode,
    /// For which OOM events a Kubernetes Event is made.
    pub events: kube_events::Mode,
    /// How long the series of a container that is gone are kept.
    pub series_ttl: Duration,
    /// At most so many containers have series.
    pub max_containers: usize,
    /// What goes to standard output for each kill.
    pub output: log::Format,
    /// How many kills the API remembers.
    pub history: usize,
    /// Where what captures is pinned, if anywhere.
    pub pin_dir: Option<PathBuf>,
    /// Room for records that wait to be read.
    pub ring_size: RingSize,
    /// Where state is kept over a restart, if anywhere.
    pub state_dir: Option<PathBuf>,
    /// Where the node is looked at.
    pub sources: Sources,
    /// The cgroups below which the kubelet makes those of pods; where none is named they are
    /// looked for.
    pub kubepods_root: Vec<PathBuf>,
}
