//! Whether the drill showed what it was to show. Pure: evidence in, verdict out.

use serde::Serialize;

use super::evidence::{Evidence, Expected, What};

/// One thing that had to be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Criterion {
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) finding: Finding,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", content = "detail", rename_all = "snake_case")]
pub(crate) enum Finding {
    Met(String),
    Missed(String),
    /// It was not asked for, or nothing here can tell.
    NotChecked(String),
}

use Finding::{Met, Missed, NotChecked};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Passed,
    Failed,
}

type Check = fn(&Evidence) -> Finding;

/// Passed if nothing was missed.
pub(crate) fn verdict(criteria: &[Criterion]) -> Verdict {
    let missed = |criterion: &Criterion| matches!(criterion.finding, Missed(_));
    if criteria.iter().any(missed) {
        Verdict::Failed
    } else {
        Verdict::Passed
    }
}

pub(crate) fn check(evidence: &Evidence) -> Vec<Criterion> {
    let always = [
        ("The OOM kill happened", kill(evidence)),
        ("oom-probe recorded it", recorded(evidence)),
        ("It shows in the metrics", metrics(evidence)),
    ];
    let dies: [(_, Check); 4] = [
        ("The container ended with exit code 137", exit_code),
        ("The reason is confirmed", reason),
        ("It was started again by itself", restarted),
        ("It was ready again in time", recovered),
    ];
    let survives: [(_, Check); 1] = [("The container went on, without a restart", survived)];
    let expected = match evidence.plan.expected {
        Expected::Dies => &dies[..],
        Expected::Survives => &survives[..],
    };
    let expected = expected
        .iter()
        .map(|(name, check)| (*name, check(evidence)));
    let rest = [
        ("The service stayed up", stayed_up(evidence)),
        ("No manual step was needed", untouched(evidence)),
    ];
    always
        .into_iter()
        .chain(expected)
        .chain(rest)
        .map(|(name, finding)| Criterion { name, finding })
        .collect()
}

fn kill(evidence: &Evidence) -> Finding {
    let recorded = evidence.kills.len();
    match evidence.kernel_kills {
        Some(0) => Missed("the kernel counted none in the container's cgroup".to_owned()),
        Some(count) => Met(format!("the kernel counted {count} in its cgroup")),
        None if recorded > 0 => Met("oom-probe recorded it".to_owned()),
        None => match evidence.death() {
            Some(death) if death.reason.as_deref() == Some("OOMKilled") => {
                Met("the container's status says OOMKilled".to_owned())
            }
            _ => Missed("neither oom-probe nor the container's status knows of one".to_owned()),
        },
    }
}

fn recorded(evidence: &Evidence) -> Finding {
    match (&*evidence.kills, evidence.plan.probe) {
        ([], false) => NotChecked("no probe was asked".to_owned()),
        ([], true) => Missed("it has no record of a kill in that container".to_owned()),
        ([kill], _) => Met(format!(
            "one record, limit {}, at {}",
            kill["limit"].as_str().unwrap_or("unknown"),
            kill["time"].as_str().unwrap_or("an unknown time")
        )),
        (kills, _) => Met(format!("{} records, one per process", kills.len())),
    }
}

fn metrics(evidence: &Evidence) -> Finding {
    let moved = || {
        let grown = evidence
            .metrics
            .iter()
            .filter(|change| change.after > change.before);
        let told = grown.map(|c| format!("{} {} → {}", c.series, c.before, c.after));
        told.collect::<Vec<_>>()
    };
    match (moved(), evidence.plan.probe) {
        (_, false) => NotChecked("no probe was asked".to_owned()),
        (moved, true) if moved.is_empty() => Missed("no counter of kills moved".to_owned()),
        (moved, true) => Met(moved.join(", ")),
    }
}

fn exit_code(evidence: &Evidence) -> Finding {
    match evidence.death() {
        Some(death) if death.exit_code == 137 => Met("137".to_owned()),
        Some(death) => Missed(format!("exit code {}", death.exit_code)),
        None => Missed("it did not end".to_owned()),
    }
}

fn reason(evidence: &Evidence) -> Finding {
    match evidence.death().map(|death| death.reason.as_deref()) {
        Some(Some("OOMKilled")) => Met("OOMKilled".to_owned()),
        Some(Some(other)) => Missed(format!("the reason given is {other}")),
        Some(None) => Missed("no reason is given".to_owned()),
        None => Missed("it did not end".to_owned()),
    }
}

fn restarted(evidence: &Evidence) -> Finding {
    match evidence.when(|what| matches!(what, What::Started { .. })) {
        Some(_) => Met("once".to_owned()).counted(evidence),
        None => Missed("it was not started again while the drill looked".to_owned()),
    }
}

impl Finding {
    /// More than one end of the victim is worth a word.
    fn counted(self, evidence: &Evidence) -> Self {
        let victim = &evidence.target.victim;
        let deaths = evidence
            .deaths
            .iter()
            .filter(|d| d.replica == *victim)
            .count();
        match deaths {
            0 | 1 => self,
            more => Met(format!("it ended {more} times and came back")),
        }
    }
}

fn recovered(evidence: &Evidence) -> Finding {
    let allowed = seconds(evidence.plan.recover_within_ms);
    match evidence.downtime_ms() {
        Some(ms) if ms <= evidence.plan.recover_within_ms => {
            Met(format!("{} from the kill, {allowed} allowed", seconds(ms)))
        }
        Some(ms) => Missed(format!("{} from the kill, {allowed} allowed", seconds(ms))),
        None => Missed(format!("not within {allowed}")),
    }
}

fn survived(evidence: &Evidence) -> Finding {
    match evidence.death() {
        None => Met("0 restarts".to_owned()),
        Some(death) => Missed(format!("it ended with exit code {}", death.exit_code)),
    }
}

fn stayed_up(evidence: &Evidence) -> Finding {
    let requests = &evidence.requests;
    let told = format!(
        "{} served, {} failed, never silent for more than {}",
        requests.served,
        requests.failed,
        seconds(requests.longest_silence_ms)
    );
    let allowed = evidence.plan.silence_allowed_ms;
    if requests.served == 0 {
        Missed("no request was served".to_owned())
    } else if requests.longest_silence_ms > allowed {
        Missed(format!("{told}; {} allowed", seconds(allowed)))
    } else {
        Met(told)
    }
}

fn untouched(evidence: &Evidence) -> Finding {
    let stopped = evidence
        .timeline
        .iter()
        .find_map(|moment| match &moment.what {
            What::Stopped { why } => Some(why),
            _ => None,
        });
    match (stopped, &*evidence.interventions) {
        (Some(why), _) => Missed(format!("the drill did not run to its end: {why}")),
        (None, []) => Met("nobody else touched it".to_owned()),
        (None, hands) => Missed(hands.join("; ")),
    }
}

/// Milliseconds as seconds, short.
pub(crate) fn seconds(ms: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "hours of milliseconds fit")]
    let seconds = ms as f64 / 1000.0;
    if ms < 1000 {
        format!("{seconds:.2} s")
    } else {
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::passed;

    fn missed(evidence: &Evidence) -> Vec<&'static str> {
        let criteria = check(evidence);
        let missed = criteria.iter().filter(|c| matches!(c.finding, Missed(_)));
        let names = missed.map(|criterion| criterion.name).collect::<Vec<_>>();
        assert_eq!(verdict(&criteria) == Verdict::Passed, names.is_empty());
        names
    }

    #[test]
    fn what_went_as_expected_passes() {
        assert_eq!(missed(&passed()), [""; 0]);
        assert_eq!(check(&passed()).len(), 9);
    }

    type Spoil = fn(&mut Evidence);

    #[test]
    fn each_criterion_fails_alone() {
        let cases: [(&str, Spoil); 9] = [
            ("The OOM kill happened", |e| e.kernel_kills = Some(0)),
            ("oom-probe recorded it", |e| {
                e.kills.clear();
                e.kernel_kills = Some(1);
            }),
            ("It shows in the metrics", |e| e.metrics[0].after = 0.0),
            ("The container ended with exit code 137", |e| {
                e.deaths[0].exit_code = 1;
            }),
            ("The reason is confirmed", |e| e.deaths[0].reason = None),
            ("It was started again by itself", |e| {
                e.timeline
                    .retain(|m| !matches!(m.what, What::Started { .. }));
            }),
            ("It was ready again in time", |e| {
                e.plan.recover_within_ms = 1_000;
            }),
            ("The service stayed up", |e| {
                e.requests.silence_until(60_000);
            }),
            ("No manual step was needed", |e| {
                e.interventions
                    .push("the Deployment was changed".to_owned());
            }),
        ];
        for (name, change) in cases {
            let mut evidence = passed();
            change(&mut evidence);
            assert_eq!(missed(&evidence), [name]);
        }
    }

    #[test]
    fn without_a_probe_its_criteria_are_not_checked() {
        let mut evidence = passed();
        evidence.plan.probe = false;
        evidence.kills.clear();
        evidence.metrics.clear();
        assert_eq!(missed(&evidence), [""; 0]);
        let unchecked = check(&evidence);
        let unchecked = unchecked
            .iter()
            .filter(|c| matches!(c.finding, NotChecked(_)));
        assert_eq!(unchecked.count(), 2);
    }

    #[test]
    fn a_container_that_was_to_survive_must_not_end() {
        let mut evidence = passed();
        evidence.plan.expected = Expected::Survives;
        assert_eq!(
            missed(&evidence),
            ["The container went on, without a restart"]
        );
        evidence.deaths.clear();
        assert_eq!(missed(&evidence), [""; 0]);
    }

    #[test]
    fn a_drill_that_was_stopped_has_not_passed() {
        let mut evidence = passed();
        let why = "Ctrl-C".to_owned();
        evidence.note(5_000, None, What::Stopped { why });
        assert_eq!(missed(&evidence), ["No manual step was needed"]);
    }
}
