//! Files made from others, committed so that users need no tool, and checked for drift.

use std::env;
use std::fs;

use super::programs::deploy;

/// Set by `cargo xtask deploy`: write what differs instead of failing.
const WRITE: &str = "OOM_PROBE_DEPLOY_WRITE";

/// Whether the file below `deploy/` is what it would be made now.
///
/// # Panics
/// It is not, and is not to be written.
pub(crate) fn expect(path: &str, content: &str) {
    let file = deploy().join(path);
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found == content {
        return;
    }
    assert!(
        env::var_os(WRITE).is_some(),
        "deploy/{path} is not what its source makes of it: run `cargo xtask deploy`"
    );
    fs::create_dir_all(file.parent().expect("it lies in deploy/")).expect("it can be made");
    fs::write(&file, content).expect("it can be written");
}

fn source(path: &str) -> String {
    fs::read_to_string(deploy().join(path)).expect("the source is there")
}

/// A rules file as the object that the Prometheus Operator reads.
fn prometheus_rule(name: &str, rules: &str) -> String {
    let groups = rules
        .find("groups:\n")
        .map(|start| &rules[start..])
        .expect("a rules file has groups");
    let indented: String = groups
        .lines()
        .map(|line| match line {
            "" => "\n".to_owned(),
            line => format!("  {line}\n"),
        })
        .collect();
    format!(
        "# Made from deploy/alerts by `cargo xtask deploy`.\n\
         apiVersion: monitoring.coreos.com/v1\n\
         kind: PrometheusRule\n\
         metadata:\n  name: {name}\n  namespace: oom-probe\n  labels:\n    \
         app.kubernetes.io/name: oom-probe\n\
         spec:\n{indented}"
    )
}

#[test]
fn copies_are_what_their_sources_make_of_them() {
    let rules = source("alerts/oom-probe.rules.yaml");
    let near_limit = source("alerts/near-limit.rules.yaml");
    let dashboard = source("dashboard/oom-probe.json");
    let scrape = source("prometheus/scrape-config.yaml");
    for (path, content) in [
        (
            "components/alerts/prometheus-rule.yaml",
            &prometheus_rule("oom-probe", &rules),
        ),
        (
            "components/alert-near-limit/prometheus-rule.yaml",
            &prometheus_rule("oom-probe-near-limit", &near_limit),
        ),
        ("helm/oom-probe/files/oom-probe.rules.yaml", &rules),
        ("helm/oom-probe/files/near-limit.rules.yaml", &near_limit),
        ("kind/prometheus/oom-probe.rules.yaml", &rules),
        ("components/dashboard/oom-probe.json", &dashboard),
        ("helm/oom-probe/files/oom-probe.json", &dashboard),
        ("kind/prometheus/scrape-config.yaml", &scrape),
    ] {
        expect(path, content);
    }
}
