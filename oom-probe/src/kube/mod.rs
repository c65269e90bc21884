//! The pods of this node: which containers there are, and whose they are.

use std::fmt;

pub mod index;
pub mod names;
pub mod object;
pub mod pod;
pub mod watch;
pub mod workload;

pub(crate) mod api_error;
pub mod client;
#[cfg(test)]
pub(crate) mod fixture;

/// What the watch tells about the pods of this node, in this order: a list, then changes. An error
/// or a silence is `Away`; what follows it is `Synced` again, after a new list where the changes
/// since the last one could not be had.
#[derive(Clone, Debug)]
pub enum PodEvent {
    /// A list of all pods begins.
    ListStarts,
    /// A pod of that list.
    Listed(Box<object::Pod>),
    /// A pod is new, or has changed.
    Applied(Box<object::Pod>),
    /// A pod is deleted; as it was at the last.
    Deleted(Box<object::Pod>),
    /// From here on changes come as they happen.
    Synced {
        /// The list is complete: what it did not have is gone.
        listed: bool,
    },
    /// The API server does not answer; changes may be missing.
    Away,
}

/// How the connection to the API server stands, for `/readyz` and `oom_probe_kubernetes_synced`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not asked for, or no cluster.
    Off,
    /// No list yet.
    Connecting,
    /// The pods are known.
    Synced {
        /// How many the last list had.
        pods: usize,
    },
    /// They are not, or not all, and why.
    Away(String),
}

impl Link {
    /// Whether the pods of this node are known.
    pub const fn is_synced(&self) -> bool {
        matches!(self, Self::Synced { .. })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Connecting => f.write_str("no list of pods yet"),
            Self::Synced { pods: 0 } => {
                f.write_str("synced, but no pod is bound to this node's name")
            }
            Self::Synced { pods } => write!(f, "synced, {pods} pods"),
            Self::Away(why) => f.write_str(why),
        }
    }
}
