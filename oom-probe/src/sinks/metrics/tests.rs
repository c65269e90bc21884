use super::*;
use crate::http::exposition::{self, Encoding, Format};

fn scrape(registry: &Registry) -> String {
    let body = exposition::encode(registry, Format::Text, Encoding::Identity).unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn series<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .collect()
}

#[test]
fn every_expected_series_is_there_at_0_before_the_first_kill() {
    let text = scrape(&Metrics::new().1);
    for (name, count) in [
        ("oom_probe_kills_total", 38),
        ("oom_probe_oom_events_total", 7),
        ("oom_probe_attributions_total", 6),
        ("oom_probe_exiting_marks_total", 1),
        ("oom_probe_kernel_marks_total", 1),
        ("oom_probe_records_received_total", 1),
        ("oom_probe_records_dropped_total", 1),
        ("oom_probe_records_rejected_total", 1),
        ("oom_probe_drained_kills_total", 1),
        ("oom_probe_series_refused_total", 1),
        ("oom_probe_log_lines_dropped_total", 1),
        ("oom_probe_kubernetes_events_dropped_total", 1),
        ("oom_probe_capture_duration_seconds_bucket", 12),
        ("oom_probe_capture_duration_seconds_count", 1),
        ("oom_probe_armed", 1),
        ("oom_probe_pinned", 1),
        ("oom_probe_kubernetes_synced", 1),
    ] {
        let series = series(&text, name);
        assert_eq!(series.len(), count, "{name}");
        assert!(series.iter().all(|line| line.ends_with(" 0")), "{name}");
    }
    assert_eq!(series(&text, "oom_probe_build_info").len(), 1);
}

#[test]
fn what_is_counted_shows_on_its_series_and_no_other() {
    let (metrics, registry) = Metrics::new();
    for scope in [Scope::Pod, Scope::Host] {
        metrics.kills(scope, Limit::Container, Role::Primary).inc();
    }
    metrics.attributions(Attribution::Live).inc();
    metrics.attributions(Attribution::Host).inc();
    let time = Timestamp::from_microsecond(1_763_640_224_120_456).unwrap();
    metrics.oom_event(Limit::Container, time);
    let text = scrape(&registry);
    assert_eq!(
        series(&text, "oom_probe_last_oom_event_timestamp_seconds"),
        [r#"oom_probe_last_oom_event_timestamp_seconds{limit="container"} 1763640224.120456"#]
    );
    let counted: Vec<_> = text.lines().filter(|line| line.ends_with(" 1")).collect();
    for line in [
        r#"oom_probe_kills_total{scope="pod",limit="container",role="primary"} 1"#,
        r#"oom_probe_kills_total{scope="host",limit="container",role="primary"} 1"#,
        r#"oom_probe_attributions_total{result="live"} 1"#,
        r#"oom_probe_attributions_total{result="host"} 1"#,
        r#"oom_probe_oom_events_total{limit="container"} 1"#,
    ] {
        assert!(counted.contains(&line), "{line} is not in {counted:#?}");
    }
    let kills = series(&text, "oom_probe_kills_total");
    assert_eq!(kills.iter().filter(|line| line.ends_with(" 1")).count(), 2);
}

#[test]
fn arming_anew_replaces_the_hook() {
    let (metrics, registry) = Metrics::new();
    for hook in ["raw_tp/mark_victim", "tp_btf/mark_victim"] {
        metrics.set_hook(&HookInfo {
            hook: hook.into(),
            context: "fentry".into(),
            btf: "kernel".into(),
            cgroup_version: "2".into(),
        });
    }
    metrics.set_armed(true);
    let text = scrape(&registry);
    assert_eq!(
        series(&text, "oom_probe_hook_info"),
        [
            r#"oom_probe_hook_info{hook="tp_btf/mark_victim",context="fentry",btf="kernel",cgroup_version="2"} 1"#
        ]
    );
    assert_eq!(series(&text, "oom_probe_armed"), ["oom_probe_armed 1"]);
}

#[test]
fn capture_times_fall_into_the_buckets_of_the_budget() {
    let (metrics, registry) = Metrics::new();
    for micros in [1_500, 3_000, 9_000] {
        metrics.observe_capture(Duration::from_micros(micros));
    }
    let text = scrape(&registry);
    for line in [
        r#"oom_probe_capture_duration_seconds_bucket{le="0.002"} 1"#,
        r#"oom_probe_capture_duration_seconds_bucket{le="0.004"} 2"#,
        r#"oom_probe_capture_duration_seconds_bucket{le="0.01"} 3"#,
        "oom_probe_capture_duration_seconds_count 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
