//! Evidence under way: many watchers write, with the time at which they saw it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::evidence::{Death, Evidence, Plan, Point, Target, What};

/// Of the limit; each is a line in the timeline.
const QUARTERS: u64 = 4;

#[derive(Clone)]
pub(crate) struct Recorder(Arc<Inner>);

struct Inner {
    began: Instant,
    evidence: Mutex<Evidence>,
}

impl Recorder {
    /// From now on.
    pub(crate) fn begin(target: Target, plan: Plan) -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            evidence: Mutex::new(Evidence::new(Timestamp::now(), target, plan)),
        }))
    }

    pub(crate) fn evidence(&self) -> MutexGuard<'_, Evidence> {
        let evidence = self.0.evidence.lock();
        evidence.unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the drill began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn note(&self, replica: Option<&str>, what: What) {
        note(&mut self.evidence(), self.now(), replica, what);
    }

    pub(crate) fn death(&self, replica: &str, exit_code: i32, reason: Option<String>) {
        let at_ms = self.now();
        let mut evidence = self.evidence();
        let what = What::Exited {
            code: exit_code,
            reason: reason.clone(),
        };
        note(&mut evidence, at_ms, Some(replica), what);
        evidence.deaths.push(Death {
            at_ms,
            replica: replica.to_owned(),
            exit_code,
            reason,
        });
    }

    /// What the victim holds by now of what it was asked for.
    pub(crate) fn holds(&self, bytes: u64) {
        let at_ms = self.now();
        let mut evidence = self.evidence();
        let before = evidence.allocation.last().map_or(0, |point| point.bytes);
        if bytes == before {
            return;
        }
        evidence.allocation.push(Point { at_ms, bytes });
        let quarter = evidence.target.limit_bytes.unwrap_or(0) / QUARTERS;
        if quarter > 0 && bytes / quarter > before / quarter {
            let victim = evidence.target.victim.clone();
            note(&mut evidence, at_ms, Some(&victim), What::Holds { bytes });
        }
    }

    pub(crate) fn uses(&self, replica: &str, bytes: u64) {
        let at_ms = self.now();
        let mut evidence = self.evidence();
        let memory = evidence.memory.entry(replica.to_owned()).or_default();
        memory.push(Point { at_ms, bytes });
    }

    pub(crate) fn served(&self, replica: Option<&str>) {
        let at_ms = self.now();
        let mut evidence = self.evidence();
        evidence.requests.served(at_ms, replica);
        let back = replica == Some(evidence.target.victim.as_str())
            && evidence.when(|what| *what == What::Ready).is_some()
            && evidence.when(|what| *what == What::ServesAgain).is_none();
        if back {
            note(&mut evidence, at_ms, replica, What::ServesAgain);
        }
    }

    pub(crate) fn failed(&self, error: String) {
        let at_ms = self.now();
        let mut evidence = self.evidence();
        if evidence.requests.failed == 0 {
            let error = error.clone();
            note(&mut evidence, at_ms, None, What::RequestFailed { error });
        }
        evidence.requests.failed(at_ms, error);
    }

    /// Something that could not be read; told once.
    pub(crate) fn gap(&self, what: String) {
        let mut evidence = self.evidence();
        if !evidence.gaps.contains(&what) {
            evidence.gaps.push(what);
        }
    }

    /// What was recorded, once all watchers have ended.
    pub(crate) fn end(&self) -> Evidence {
        self.note(None, What::Ended);
        let at_ms = self.now();
        let mut evidence = self.evidence();
        evidence.requests.silence_until(at_ms);
        evidence.clone()
    }
}

/// Tells it as it happens, too.
fn note(evidence: &mut Evidence, at_ms: u64, replica: Option<&str>, what: What) {
    let who = replica.map_or_else(String::new, |replica| format!("{replica} "));
    eprintln!("hog: +{}.{:03} s {who}{what}", at_ms / 1000, at_ms % 1000);
    evidence.note(at_ms, replica, what);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::passed;

    #[test]
    fn each_quarter_of_the_limit_is_a_line_in_the_timeline() {
        let Evidence { target, plan, .. } = passed();
        let recorder = Recorder::begin(target, plan);
        for mebibytes in [1, 31, 32, 40, 40, 70, 126] {
            recorder.holds(mebibytes << 20);
        }
        let evidence = recorder.end();
        let told: Vec<_> = evidence
            .timeline
            .iter()
            .filter_map(|moment| match moment.what {
                What::Holds { bytes } => Some(bytes >> 20),
                _ => None,
            })
            .collect();
        assert_eq!(told, [32, 70, 126]);
        assert_eq!(evidence.allocation.len(), 6);
    }

    #[test]
    fn only_the_first_failure_is_a_moment() {
        let Evidence { target, plan, .. } = passed();
        let recorder = Recorder::begin(target, plan);
        recorder.failed("refused".to_owned());
        recorder.failed("reset".to_owned());
        let evidence = recorder.end();
        let is_failure = |moment: &&_| {
            matches!(
                moment,
                &super::super::evidence::Moment {
                    what: What::RequestFailed { .. },
                    ..
                }
            )
        };
        assert_eq!(evidence.timeline.iter().filter(is_failure).count(), 1);
        assert_eq!(evidence.requests.failed, 2);
    }
}
