//! What is made of what is seen of a container after a kill.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use capture::{cgroup::population::Population, model::labels::Outcome};

/// When the container is looked at again, after the event's last victim.
pub const LOOKS: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];
/// How long the outcome stays open for the pod's status to tell of an end. The kubelet tells within
/// seconds; longer than this its word or the API server is away.
pub(super) const STATUS_WITHIN: Duration = Duration::from_secs(60);
/// A container that ended within this time of the kill ended with it.
const ENDS_WITHIN: SignedDuration = SignedDuration::from_secs(10);
/// `finishedAt` is cut to the second.
const FINISHED_AT_STEP: SignedDuration = SignedDuration::from_secs(1);

/// What is seen of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Whether anything runs in the cgroup; absent where that cannot be told.
    pub population: Option<Population>,
    /// When that run of the container ended, by the pod's status.
    pub finished_at: Option<Timestamp>,
    /// What its first process exited with, by the pod's status.
    pub exit_code: Option<i32>,
}

/// The outcome, if it can be told `since` the last victim. `status_within` is how long a status may
/// take.
///
/// The status decides where it tells of an end: its exit code is 0 only where the first process came
/// to an end of its own. An empty cgroup says that the container ended and not how.
pub(super) fn judge(
    signs: Signs,
    last_victim: Timestamp,
    since: Duration,
    status_within: Duration,
) -> Option<Outcome> {
    if signs.exit_code == Some(0) {
        return Some(Outcome::Survived);
    }
    if let Some(finished_at) = signs.finished_at {
        let lived = finished_at.duration_since(last_victim);
        return Some(if lived < ENDS_WITHIN + FINISHED_AT_STEP {
            Outcome::Died
        } else {
            Outcome::Survived
        });
    }
    let (patience, outcome) = match signs.population {
        Some(Population::Populated) => (LOOKS[LOOKS.len() - 1], Outcome::Survived),
        Some(Population::Empty | Population::Gone) => (status_within, Outcome::Died),
        None => (STATUS_WITHIN, Outcome::Survived),
    };
    (since >= patience).then_some(outcome)
}
