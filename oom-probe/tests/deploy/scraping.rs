//! How a Prometheus finds the probes, with an operator and without: the same labels come out.

use std::fs;

use serde_json::{Value, json};

use super::objects::committed;
use super::programs::deploy;

/// Which label takes the value of which, of a list of relabelings.
fn copied(relabelings: &Value, source: &str, target: &str) -> Vec<(Value, Value)> {
    let rules = relabelings.as_array().into_iter().flatten();
    rules
        .filter(|rule| !rule[target].is_null())
        .map(|rule| (rule[source].clone(), rule[target].clone()))
        .collect()
}

#[test]
fn an_operator_scrapes_as_the_plain_configuration_does() {
    let text = fs::read_to_string(deploy().join("prometheus/scrape-config.yaml"));
    let plain: Value = serde_saphyr::from_str(&text.expect("it is there")).expect("it is YAML");
    let plain = &plain["scrape_configs"][0];
    let wanted: Vec<_> = ["node", "instance"]
        .map(|label| (json!(["__meta_kubernetes_pod_node_name"]), json!(label)))
        .into();
    assert_eq!(plain["job_name"], "oom-probe");
    assert_eq!(plain["honor_labels"], true);
    assert_eq!(
        copied(&plain["relabel_configs"], "source_labels", "target_label"),
        wanted
    );

    let mut monitors = 0;
    for (file, objects) in committed() {
        let name = "monitoring.coreos.com/v1 PodMonitor oom-probe/oom-probe";
        let Some(monitor) = objects.get(name) else {
            continue;
        };
        monitors += 1;
        // The job is the value of this label of the pod.
        let pod = &objects["apps/v1 DaemonSet oom-probe/oom-probe"]["spec"]["template"];
        let label = monitor["spec"]["jobLabel"].as_str().expect("it has one");
        assert_eq!(
            pod["metadata"]["labels"][label], plain["job_name"],
            "{file}"
        );
        assert_eq!(
            monitor["spec"]["selector"]["matchLabels"],
            pod["metadata"]["labels"]
        );
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        assert_eq!(endpoint["honorLabels"], true, "{file}");
        let relabelings = &endpoint["relabelings"];
        assert_eq!(
            copied(relabelings, "sourceLabels", "targetLabel"),
            wanted,
            "{file}"
        );
        // What an operator adds of the probe's own, and a plain configuration does not.
        assert_eq!(
            relabelings[2],
            json!({"action": "labeldrop", "regex": "namespace|pod|container|endpoint"}),
            "{file}"
        );
    }
    assert!(monitors >= 2, "{monitors} PodMonitors");
}
