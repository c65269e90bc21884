//! What has to come of a container's kills.

use capture::model::labels::Attribution;

/// Counts, attribution and Events of one container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) kills: u64,
    pub(crate) survived: u64,
    pub(crate) died: u64,
    /// What each kill's may be.
    pub(crate) attribution: &'static [Attribution],
    /// Of the Events that are posted.
    pub(crate) reasons: &'static [&'static str],
}

/// One kill, and the container runs on.
pub(crate) const SURVIVED: Wanted = Wanted {
    kills: 1,
    survived: 1,
    died: 0,
    attribution: &[Attribution::Live],
    reasons: &["ProcessOOMKilled"],
};

/// One kill, and the container ended with it.
pub(crate) const DIED: Wanted = Wanted {
    kills: 1,
    survived: 0,
    died: 1,
    attribution: &[Attribution::Live],
    reasons: &["OOMKilled"],
};

impl Wanted {
    pub(crate) const fn by(self, attribution: &'static [Attribution]) -> Self {
        Self {
            attribution,
            ..self
        }
    }
}

/// The namespace that a pod of the tests is in.
fn namespace(pod: &str) -> &'static str {
    if pod.starts_with("etcd-") {
        "kube-system"
    } else {
        "shop"
    }
}

/// The container's counters that are not 0.
pub(crate) fn container_series(
    pod: &str,
    container: &str,
    wanted: &Wanted,
) -> impl Iterator<Item = (String, u64)> {
    let labels = format!(
        r#"namespace="{}",pod="{pod}",container="{container}""#,
        namespace(pod)
    );
    let events = |outcome| {
        format!(r#"oom_probe_container_oom_events_total{{{labels},outcome="{outcome}"}}"#)
    };
    let kills = format!("oom_probe_container_oom_kills_total{{{labels}}}");
    let all = [
        (kills, wanted.kills),
        (events("survived"), wanted.survived),
        (events("died"), wanted.died),
    ];
    all.into_iter().filter(|(_, value)| *value > 0)
}

/// The counter of a workload's container, `namespace/type/workload/container`.
pub(crate) fn workload_series(workload: &str, outcome: &str) -> String {
    let parts: Vec<&str> = workload.split('/').collect();
    let [namespace, kind, name, container] = parts[..] else {
        panic!("{workload}: namespace/type/workload/container");
    };
    format!(
        r#"oom_probe_workload_oom_events_total{{namespace="{namespace}",workload_type="{kind}",workload="{name}",container="{container}",outcome="{outcome}"}}"#
    )
}
