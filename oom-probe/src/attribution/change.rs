//! What attribution finds out, in the order in which it does: for the journal and the sinks.

use std::sync::Arc;

use super::outcome::Settled;
use crate::kube::pod::Pod;
use capture::model::kill::{Kill, Record};

/// One thing that is known now and was not before.
#[derive(Clone, Debug)]
pub enum Change {
    /// A pod of this node, as it is.
    PodSeen {
        /// The pod.
        pod: Arc<Pod>,
        /// It is new, or something about it is.
        is_news: bool,
    },
    /// A kill waits for its pod.
    Pending(Box<Kill>),
    /// It is known whose a kill is.
    Complete(Box<Record>),
    /// It is known what became of a container in an OOM event.
    Settled {
        /// What became of it.
        settled: Settled,
        /// Its pod, as it was then.
        pod: Option<Arc<Pod>>,
        /// The kill's record says so by itself; else another look has.
        by_record: bool,
    },
    /// A pod is gone from this node.
    PodGone(Arc<Pod>),
}
