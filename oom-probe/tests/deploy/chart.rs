//! What the chart does that kustomize does not: values, and their schema.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::objects;
use super::programs::{deploy, output, program};
use super::render::template;
use super::schema;

#[test]
fn the_chart_is_in_order() {
    let Some(helm) = program("helm") else { return };
    let chart = deploy().join("helm/oom-probe");
    output(Command::new(helm).args(["lint", "--strict"]).arg(chart));
}

#[test]
fn the_namespace_is_left_to_helm_by_default() {
    let Some(helm) = program("helm") else { return };
    let objects = objects::parse(&output(&mut template(&helm)));
    assert!(objects.contains_key("apps/v1 DaemonSet oom-probe/oom-probe"));
    assert!(!objects.keys().any(|name| name.starts_with("v1 Namespace ")));
}

#[test]
fn rendering_twice_gives_the_same() {
    let Some(helm) = program("helm") else { return };
    assert_eq!(output(&mut template(&helm)), output(&mut template(&helm)));
}

/// A template that asks the cluster renders something else where there is none: Argo CD would
/// never see the two agree.
#[test]
fn templates_ask_nothing_but_their_values() {
    let templates = deploy().join("helm/oom-probe/templates");
    let mut read = 0;
    for entry in fs::read_dir(templates).expect("there are templates") {
        let path = entry.expect("it can be listed").path();
        let text = fs::read_to_string(&path).expect("it can be read");
        let words: Vec<_> = text
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .collect();
        for asking in [
            "lookup",
            "now",
            "randAlpha",
            "randAlphaNum",
            "uuidv4",
            "genCA",
            "Revision",
        ] {
            assert!(!words.contains(&asking), "{}: {asking}", path.display());
        }
        read += 1;
    }
    assert!(read > 5);
}

#[test]
fn a_service_monitor_is_the_other_way_to_be_scraped() {
    let Some(helm) = program("helm") else { return };
    let mut command = template(&helm);
    command.args(["--set", "serviceMonitor.enabled=true"]);
    command.args(["--set", "serviceMonitor.additionalLabels.release=stack"]);
    command.args(["--set", "serviceMonitor.interval=15s"]);
    let objects = objects::parse(&output(&mut command));
    schema::assert_valid("service monitor", &objects);
    let monitor = &objects["monitoring.coreos.com/v1 ServiceMonitor oom-probe/oom-probe"];
    assert_eq!(monitor["metadata"]["labels"]["release"], "stack");
    assert_eq!(monitor["spec"]["endpoints"][0]["interval"], "15s");
    assert_eq!(monitor["spec"]["endpoints"][0]["honorLabels"], true);
    let service = &objects["v1 Service oom-probe/oom-probe"];
    assert_eq!(
        service["metadata"]["labels"],
        serde_json::json!({"app.kubernetes.io/name": "oom-probe"})
    );
}

#[test]
fn values_reach_the_daemon() {
    let Some(helm) = program("helm") else { return };
    let mut command = template(&helm);
    let digest = format!("image.digest=sha256:{}", "0f".repeat(32));
    for set in [
        &digest,
        "image.repository=registry.test/oom-probe",
        "image.pullSecrets[0].name=registry",
        "probe.events=survived",
        "probe.maxContainers=500",
        "probe.extraArgs={--api-remote}",
        "podAnnotations.team=platform",
    ] {
        command.args(["--set", set]);
    }
    let objects = objects::parse(&output(&mut command));
    schema::assert_valid("values", &objects);
    let template = &objects["apps/v1 DaemonSet oom-probe/oom-probe"]["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"]["team"], "platform");
    assert_eq!(template["spec"]["imagePullSecrets"][0]["name"], "registry");
    let container = &template["spec"]["containers"][0];
    let image = container["image"].as_str().unwrap();
    assert!(image.starts_with("registry.test/oom-probe:"), "{image}");
    assert!(
        image.ends_with(&format!("@sha256:{}", "0f".repeat(32))),
        "{image}"
    );
    for argument in ["--events=survived", "--max-containers=500", "--api-remote"] {
        let arguments = container["args"].as_array().unwrap();
        assert!(
            arguments.contains(&argument.into()),
            "{argument}: {arguments:?}"
        );
    }
}

#[test]
fn values_reach_the_daemon_that_keeps_memory_oom_group() {
    let Some(helm) = program("helm") else { return };
    let mut command = template(&helm);
    for set in [
        "oomGroup.enabled=true",
        "oomGroup.events=none",
        "oomGroup.nodeSelector.pool=batch",
        "oomGroup.extraArgs={--api-remote}",
    ] {
        command.args(["--set", set]);
    }
    let objects = objects::parse(&output(&mut command));
    schema::assert_valid("oom-group", &objects);
    let template = &objects["apps/v1 DaemonSet oom-probe/oom-probe-oom-group"]["spec"]["template"];
    assert_eq!(template["spec"]["nodeSelector"]["pool"], "batch");
    let arguments = template["spec"]["containers"][0]["args"]
        .as_array()
        .unwrap();
    for argument in ["oom-group", "--events=none", "--api-remote"] {
        assert!(arguments.contains(&argument.into()), "{arguments:?}");
    }
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    let Some(helm) = program("helm") else { return };
    let cases: [&[&str]; 8] = [
        &["podMonitor.enabled=true", "serviceMonitor.enabled=true"],
        &["hardened=true", "mountBpffs=true"],
        &["image.tag=latest"],
        &["image.digest=sha256:short"],
        &["probe.events=some"],
        &["probe.maxContainers=0"],
        &["alert.enabled=true"],
        &["podMonitor.interval=often"],
    ];
    for sets in cases {
        assert!(!accepts(&helm, sets), "{sets:?} was accepted");
    }
    assert!(accepts(&helm, &["podMonitor.enabled=true"]));
}

fn accepts(helm: &Path, sets: &[&str]) -> bool {
    let mut command = template(helm);
    for set in sets {
        command.args(["--set", set]);
    }
    command.output().expect("helm was found").status.success()
}
