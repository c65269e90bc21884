//! What is kept of how long a container waits for its next Kubernetes Event.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::whole::Hidden;
use capture::model::{kill::Record, labels::Outcome};

/// A container's window, and the bucket of the node as of then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredWindow {
    pub(crate) container: Container,
    pub(crate) ends: Timestamp,
    pub(crate) left_out: u32,
    /// The last event of the window, which has no Event yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Box<StoredEvent>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bucket_full_at: Option<Timestamp>,
}

/// An OOM event that has no Event yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    pub(crate) outcome: Outcome,
    pub(crate) kills: u32,
    pub(crate) record: Record,
    pub(crate) hidden: Hidden,
    pub(crate) subject: Subject,
}

/// By the pod's UID: one that comes back under its name is another object, with Events of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Container {
    pub(crate) pod: String,
    pub(crate) field_path: Option<String>,
}

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What the kubelet calls the pod by.
    pub(crate) uid: String,
    /// The container in the pod's spec.
    pub(crate) field_path: Option<String>,
}
