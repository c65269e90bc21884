//! Alerting and recording rules, by Prometheus' own checks.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::programs::{deploy, output, program};

fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(deploy().join(directory))
        .expect("the directory is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "deploy/{directory} has no {ending}");
    files
}

#[test]
fn rules_are_in_order() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    output(
        Command::new(promtool)
            .args(["check", "rules", "--lint=all", "--lint-fatal"])
            .args(files("alerts", ".rules.yaml")),
    );
}

#[test]
fn alerts_fire_and_resolve_as_promised() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    output(
        Command::new(promtool)
            .args(["test", "rules"])
            .args(files("alerts/tests", ".test.yaml")),
    );
}

#[test]
fn the_scrape_configuration_is_in_order() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    let config = deploy().join("kind/prometheus/prometheus.yml");
    // The service account's files are in the pod alone.
    output(
        Command::new(promtool)
            .args(["check", "config", "--syntax-only"])
            .arg(config),
    );
}

#[test]
fn every_alert_is_tested_documented_and_leads_to_the_runbook() {
    let docs = deploy().join("../docs");
    let runbook = fs::read_to_string(docs.join("runbook.md")).expect("docs/runbook.md is there");
    let page = fs::read_to_string(docs.join("alerts.md")).expect("docs/alerts.md is there");
    let tests: String = files("alerts/tests", ".test.yaml")
        .iter()
        .map(|path| fs::read_to_string(path).expect("it can be read"))
        .collect();
    for alert in alerts() {
        let name = alert["alert"].as_str().expect("alerts have names");
        let severity = alert["labels"]["severity"].as_str();
        assert!(
            matches!(severity, Some("info" | "warning" | "critical")),
            "{name}: {severity:?}"
        );
        let anchor = name.to_lowercase();
        assert_eq!(
            alert["annotations"]["runbook_url"],
            format!("https://github.com/oom-probe/oom-probe/blob/main/docs/runbook.md#{anchor}"),
        );
        assert!(
            runbook.lines().any(|line| line == format!("## {name}")),
            "{name} is not in docs/runbook.md"
        );
        assert!(
            page.contains(&format!("`{name}`")),
            "{name} is not in docs/alerts.md"
        );
        assert!(
            tests.contains(&format!("alertname: {name}\n")),
            "{name} has no test"
        );
        for text in ["summary", "description"] {
            assert!(alert["annotations"][text].is_string(), "{name}: no {text}");
        }
    }
}

fn alerts() -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    files("alerts", ".rules.yaml")
        .iter()
        .map(|path| fs::read_to_string(path).expect("it can be read"))
        .flat_map(|text| {
            let file: Value = serde_saphyr::from_str(&text).expect("rules are YAML");
            list(&file["groups"])
        })
        .flat_map(|group| list(&group["rules"]))
        .filter(|rule| rule["alert"].is_string())
        .collect()
}
