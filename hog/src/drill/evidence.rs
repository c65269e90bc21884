//! What a drill records. The report is made from this and nothing else; it is also what
//! `drill.json` holds.

use std::collections::BTreeMap;
use std::fmt;

use hog::units::format_size;
use jiff::Timestamp;
use serde::Serialize;

/// Of this layout; a reader refuses a higher one.
pub(crate) const SCHEMA: u32 = 1;

/// Failed requests that are kept with what went wrong; all are counted.
const FAILURES_KEPT: usize = 20;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Evidence {
    pub(crate) schema: u32,
    pub(crate) hog_version: &'static str,
    pub(crate) began: Timestamp,
    pub(crate) target: Target,
    pub(crate) plan: Plan,
    /// In the order in which it happened.
    pub(crate) timeline: Vec<Moment>,
    /// What the victim held of what it was asked for.
    pub(crate) allocation: Vec<Point>,
    /// Memory charged to each replica's cgroup.
    pub(crate) memory: BTreeMap<String, Vec<Point>>,
    pub(crate) requests: Requests,
    /// Ends of containers while the drill ran.
    pub(crate) deaths: Vec<Death>,
    /// OOM kills that the kernel counted in the victim's cgroup; absent where that is out of reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel_kills: Option<u64>,
    /// The probe's records of this drill's kills, as they came.
    pub(crate) kills: Vec<serde_json::Value>,
    /// The probe's series that moved.
    pub(crate) metrics: Vec<Change>,
    /// What the drill changed, and that it was put back.
    pub(crate) changes: Vec<String>,
    /// Hands other than the drill's that were on the target meanwhile.
    pub(crate) interventions: Vec<String>,
    /// What could not be read, and why.
    pub(crate) gaps: Vec<String>,
}

/// What the drill is done to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    /// `Deployment shop/cart`, or what stands for it.
    pub(crate) name: String,
    /// The replica that is made to grow.
    pub(crate) victim: String,
    /// The node it is on.
    pub(crate) node: String,
    pub(crate) replicas: usize,
    pub(crate) limit_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup_version: Option<u8>,
    /// memory.oom.group of the victim's container; absent on cgroup v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oom_group: Option<bool>,
}

/// What is to be done, and what to expect of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) allocate_bytes: u64,
    pub(crate) step_bytes: u64,
    pub(crate) interval_ms: u64,
    pub(crate) recover_within_ms: u64,
    pub(crate) silence_allowed_ms: u64,
    /// Whether the probe is asked.
    pub(crate) probe: bool,
    pub(crate) expected: Expected,
    pub(crate) because: String,
}

/// What becomes of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expected {
    /// It ends with exit code 137 and is started again.
    Dies,
    /// One of its processes is killed; it goes on.
    Survives,
}

/// A value at a time, in milliseconds since the drill began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Point {
    pub(crate) at_ms: u64,
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Moment {
    pub(crate) at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replica: Option<String>,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum What {
    Began,
    Asked {
        bytes: u64,
    },
    Holds {
        bytes: u64,
    },
    /// By the probe's record.
    Killed {
        comm: String,
        pid: u64,
    },
    Exited {
        code: i32,
        reason: Option<String>,
    },
    /// The process beside the service that was made to grow.
    GrowerEnded {
        code: u64,
    },
    RequestFailed {
        error: String,
    },
    NotReady,
    Started {
        restarts: u64,
    },
    Ready,
    ServesAgain,
    Stopped {
        why: String,
    },
    Ended,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began => f.write_str("the client asks, all replicas are ready"),
            Self::Asked { bytes } => write!(f, "asked to take {}", format_size(*bytes)),
            Self::Holds { bytes } => write!(f, "holds {}", format_size(*bytes)),
            Self::Killed { comm, pid } => {
                write!(f, "the kernel kills {comm}[{pid}] (oom-probe's record)")
            }
            Self::Exited { code, reason } => match reason {
                Some(reason) => write!(f, "ended with exit code {code}, reason {reason}"),
                None => write!(f, "ended with exit code {code}"),
            },
            Self::GrowerEnded { code } => {
                write!(
                    f,
                    "the process that grew ended with exit code {code}, alone"
                )
            }
            Self::RequestFailed { error } => write!(f, "first failed request: {error}"),
            Self::NotReady => f.write_str("not ready: no more requests go there"),
            Self::Started { restarts } => write!(f, "started again (restart {restarts})"),
            Self::Ready => f.write_str("ready again"),
            Self::ServesAgain => f.write_str("serves requests again"),
            Self::Stopped { why } => write!(f, "the drill was stopped: {why}"),
            Self::Ended => f.write_str("the drill ends"),
        }
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Death {
    pub(crate) at_ms: u64,
    pub(crate) replica: String,
    pub(crate) exit_code: i32,
    /// `OOMKilled` where the kubelet, or the cgroup's own count of kills, says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// A series of the probe before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    pub(crate) series: String,
    pub(crate) before: f64,
    pub(crate) after: f64,
}

/// What the client saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Requests {
    pub(crate) served: u64,
    pub(crate) failed: u64,
    /// Served, by replica; empty where the one that answers cannot be told.
    pub(crate) by_replica: BTreeMap<String, u64>,
    /// The longest time without an answer.
    pub(crate) longest_silence_ms: u64,
    /// The first failures.
    pub(crate) failures: Vec<Failure>,
    #[serde(skip)]
    last_served_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    pub(crate) at_ms: u64,
    pub(crate) error: String,
}

impl Requests {
    pub(crate) fn served(&mut self, at_ms: u64, replica: Option<&str>) {
        self.served += 1;
        self.silence_until(at_ms);
        self.last_served_ms = Some(at_ms);
        if let Some(replica) = replica {
            *self.by_replica.entry(replica.to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn failed(&mut self, at_ms: u64, error: String) {
        self.failed += 1;
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(Failure { at_ms, error });
        }
    }

    /// Counts the time since the last answer as silence.
    pub(crate) fn silence_until(&mut self, at_ms: u64) {
        let since = self.last_served_ms.unwrap_or(at_ms);
        let silence = at_ms.saturating_sub(since);
        self.longest_silence_ms = self.longest_silence_ms.max(silence);
    }
}

impl Evidence {
    pub(crate) fn new(began: Timestamp, target: Target, plan: Plan) -> Self {
        Self {
            schema: SCHEMA,
            hog_version: env!("CARGO_PKG_VERSION"),
            began,
            target,
            plan,
            timeline: Vec::new(),
            allocation: Vec::new(),
            memory: BTreeMap::new(),
            requests: Requests::default(),
            deaths: Vec::new(),
            kernel_kills: None,
            kills: Vec::new(),
            metrics: Vec::new(),
            changes: Vec::new(),
            interventions: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Adds a moment, in its place: what a record tells may be earlier than what was seen.
    pub(crate) fn note(&mut self, at_ms: u64, replica: Option<&str>, what: What) {
        let after = self
            .timeline
            .partition_point(|moment| moment.at_ms <= at_ms);
        let moment = Moment {
            at_ms,
            replica: replica.map(str::to_owned),
            what,
        };
        self.timeline.insert(after, moment);
    }

    /// When the victim first did that.
    pub(crate) fn when(&self, is: impl Fn(&What) -> bool) -> Option<u64> {
        self.victims_moments()
            .find(|moment| is(&moment.what))
            .map(|moment| moment.at_ms)
    }

    fn victims_moments(&self) -> impl Iterator<Item = &Moment> {
        let victim = self.target.victim.as_str();
        self.timeline
            .iter()
            .filter(move |moment| moment.replica.as_deref() == Some(victim))
    }

    /// Whether it ended before its time.
    pub(crate) fn was_stopped(&self) -> bool {
        let mut moments = self.timeline.iter();
        moments.any(|moment| matches!(moment.what, What::Stopped { .. }))
    }

    /// How the victim ended, first.
    pub(crate) fn death(&self) -> Option<&Death> {
        let mut deaths = self.deaths.iter();
        deaths.find(|death| death.replica == self.target.victim)
    }

    /// The moment of the kill: as recorded, else as seen.
    pub(crate) fn killed_at(&self) -> Option<u64> {
        self.when(|what| matches!(what, What::Killed { .. }))
            .or_else(|| self.death().map(|death| death.at_ms))
    }

    /// From the kill until the victim was ready again.
    pub(crate) fn downtime_ms(&self) -> Option<u64> {
        let killed = self.killed_at()?;
        let mut after = self
            .victims_moments()
            .filter(|moment| moment.at_ms >= killed);
        let ready = after.find(|moment| moment.what == What::Ready)?;
        Some(ready.at_ms - killed)
    }
}

#[cfg(test)]
pub(crate) mod tests;
