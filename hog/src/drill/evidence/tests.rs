//! Evidence of a drill that went as it should, and what is read out of it.

use super::*;

/// A drill that went as it should.
pub(crate) fn passed() -> Evidence {
    let target = Target {
        name: "two local replicas".to_owned(),
        victim: "replica-0".to_owned(),
        node: "node-1".to_owned(),
        replicas: 2,
        limit_bytes: Some(128 << 20),
        cgroup_version: Some(2),
        oom_group: Some(true),
    };
    let plan = Plan {
        allocate_bytes: 200 << 20,
        step_bytes: 1 << 20,
        interval_ms: 50,
        recover_within_ms: 30_000,
        silence_allowed_ms: 1_000,
        probe: true,
        expected: Expected::Dies,
        because: "memory.oom.group is 1".to_owned(),
    };
    let began = "2026-11-21T12:00:00Z".parse().unwrap();
    let mut evidence = Evidence::new(began, target, plan);
    let victim = Some("replica-0");
    evidence.note(0, None, What::Began);
    evidence.note(3_000, victim, What::Asked { bytes: 200 << 20 });
    let exited = What::Exited {
        code: 137,
        reason: Some("OOMKilled".to_owned()),
    };
    evidence.note(9_420, victim, exited);
    evidence.note(9_421, victim, What::NotReady);
    evidence.note(10_500, victim, What::Started { restarts: 1 });
    evidence.note(10_800, victim, What::Ready);
    let killed = What::Killed {
        comm: "hog".to_owned(),
        pid: 4711,
    };
    evidence.note(9_400, victim, killed);
    evidence.deaths.push(Death {
        at_ms: 9_420,
        replica: "replica-0".to_owned(),
        exit_code: 137,
        reason: Some("OOMKilled".to_owned()),
    });
    evidence.kills.push(serde_json::json!({
        "id": "a-1-4711-2", "time": "2026-11-21T12:00:09.4Z", "limit": "container",
        "victim": {"pid": 4711, "comm": "hog", "anon_rss_bytes": 131_072_000},
        "cgroup": {"limit_bytes": 134_217_728},
    }));
    evidence.metrics.push(Change {
        series: "oom_probe_kills_total{scope=\"host\"}".to_owned(),
        before: 0.0,
        after: 1.0,
    });
    for at_ms in (0..12_000).step_by(50) {
        evidence.requests.served(at_ms, Some("replica-1"));
    }
    for second in 0..12_u64 {
        let bytes = (10 + second * 12) << 20;
        let point = Point {
            at_ms: second * 1000,
            bytes,
        };
        let memory = &mut evidence.memory;
        memory
            .entry("replica-0".to_owned())
            .or_default()
            .push(point);
    }
    evidence
}

#[test]
fn moments_are_in_order_whenever_they_were_learnt() {
    let evidence = passed();
    let at: Vec<_> = evidence
        .timeline
        .iter()
        .map(|moment| moment.at_ms)
        .collect();
    assert!(at.is_sorted(), "{at:?}");
    assert_eq!(evidence.killed_at(), Some(9_400));
    assert_eq!(evidence.downtime_ms(), Some(1_400));
}

#[test]
fn without_a_record_the_kill_is_when_the_container_ended() {
    let mut evidence = passed();
    let is_record = |moment: &Moment| matches!(moment.what, What::Killed { .. });
    evidence.timeline.retain(|moment| !is_record(moment));
    assert_eq!(evidence.killed_at(), Some(9_420));
}

#[test]
fn silence_is_the_longest_time_without_an_answer() {
    let mut requests = Requests::default();
    for at_ms in [10, 60, 110, 900, 950] {
        requests.served(at_ms, Some("a"));
    }
    requests.failed(300, "refused".to_owned());
    assert_eq!(requests.longest_silence_ms, 790);
    requests.silence_until(2_000);
    assert_eq!(requests.longest_silence_ms, 1_050);
    assert_eq!((requests.served, requests.failed), (5, 1));
    assert_eq!(requests.by_replica["a"], 5);
}

#[test]
fn failures_are_all_counted_and_the_first_are_kept() {
    let mut requests = Requests::default();
    for at_ms in 0..100 {
        requests.failed(at_ms, "refused".to_owned());
    }
    assert_eq!(
        (requests.failed, requests.failures.len()),
        (100, FAILURES_KEPT)
    );
}
