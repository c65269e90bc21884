//! The dashboard's file: that Grafana can read it, and that its queries are PromQL over metrics that
//! there are. What the queries answer is tested against real kills: see the dashboard's own test.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::programs::{deploy, output, program};

use crate::panels::Panels;

fn dashboard() -> Value {
    let path = deploy().join("dashboard/oom-probe.json");
    serde_json::from_str(&fs::read_to_string(path).expect("it is there")).expect("it is JSON")
}

#[test]
fn panels_have_titles_queries_and_a_place_of_their_own() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        let title = panel["title"].as_str().expect("a panel has a title");
        assert!(
            ids.insert(panel["id"].as_u64()),
            "{title}: its id is another's"
        );
        let place = &panel["gridPos"];
        let at = |key: &str| place[key].as_u64().expect("a place is in whole units");
        assert!(at("x") + at("w") <= 24, "{title}: wider than the page");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(places.insert((x, y)), "{title}: overlaps another");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("a panel asks something");
        let refs: BTreeSet<_> = targets.iter().map(|it| it["refId"].as_str()).collect();
        assert_eq!(
            refs.len(),
            targets.len(),
            "{title}: two queries have one name"
        );
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn variables_in_queries_are_defined() {
    let dashboard = dashboard();
    let defined: BTreeSet<_> = dashboard["templating"]["list"]
        .as_array()
        .expect("it has variables")
        .iter()
        .map(|variable| variable["name"].as_str().expect("a variable has a name"))
        .collect();
    for query in Panels::of(&dashboard).queries() {
        for name in query.expression.split('$').skip(1) {
            let name: String = name
                .chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect();
            assert!(
                defined.contains(name.as_str()) || name.starts_with("__"),
                "{}: ${name}",
                query.panel
            );
        }
    }
}

#[test]
fn queries_are_promql() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    let rules: Vec<_> = Panels::of(&dashboard())
        .queries()
        .enumerate()
        .map(|(number, query)| {
            serde_json::json!({
                "record": format!("query_{number}"),
                "expr": query.filled_in(),
                "labels": {"panel": query.panel},
            })
        })
        .collect();
    assert!(rules.len() > 30, "{} queries", rules.len());
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let text = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(file.path(), text.to_string()).unwrap();
    output(
        Command::new(promtool)
            .args(["check", "rules"])
            .arg(file.path()),
    );
}

#[test]
fn queries_ask_for_metrics_that_are_documented() {
    let documented = fs::read_to_string(deploy().join("../docs/metrics.md")).unwrap();
    for query in Panels::of(&dashboard()).queries() {
        let names = query
            .expression
            .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .filter(|word| word.starts_with("oom_probe_"));
        for name in names {
            let family = name.trim_end_matches("_bucket");
            assert!(
                documented.contains(&format!("`{family}`")),
                "{}: {name} is not in docs/metrics.md",
                query.panel
            );
        }
    }
}
