//! OOM events for the tests of this sink.

use std::sync::Arc;

use serde_json::Value;

use super::{limit::Candidate, object::Subject};
use crate::{
    attribution::outcome::Settled,
    sinks::fixture::{from, pod_child},
};
use capture::model::labels::Outcome;

/// An event of a container of that name; the victim's pid is `pid`.
pub(super) fn candidate(container: &str, pid: u32) -> Candidate {
    let mut record = pod_child();
    record.kill.victim.pid = pid;
    if let Some(pod) = &mut record.pod {
        pod.container = Some(container.to_owned());
    }
    let settled = Settled {
        outcome: Outcome::Survived,
        kill: Box::new(record),
        kills: 1,
    };
    let subject = Subject::of(&settled, None).expect("it has a pod");
    Arc::new((settled, subject))
}

/// An event whose record differs from [`pod_child`] in some fields.
pub(super) fn settled(outcome: Outcome, kills: u32, changes: &Value) -> Settled {
    Settled {
        outcome,
        kill: Box::new(from(changes)),
        kills,
    }
}
