//! The manifests of the scenarios: one for each, saying what the table says, in the API's own terms.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use hog::scenario::{ALL, Container, Scenario};
use hog::units::parse_size;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodSpec, Service};
use serde_json::Value;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/hog")
}

fn text(scenario: &Scenario) -> String {
    let path = directory().join(format!("{}.yaml", scenario.name));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(scenario: &Scenario) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(scenario)).unwrap()
}

/// Read as the API's type and written again, nothing may be missing: a field that the type does not
/// know would be.
fn strict<T: serde::de::DeserializeOwned + serde::Serialize>(document: &Value) -> T {
    let read: T = serde_json::from_value(document.clone()).unwrap_or_else(|error| {
        panic!("{}: {error}", document["metadata"]["name"]);
    });
    assert_eq!(&serde_json::to_value(&read).unwrap(), document);
    read
}

/// The pod that the scenario makes.
fn pod_spec(scenario: &Scenario) -> PodSpec {
    let documents = documents(scenario);
    let specs = documents.iter().filter_map(|document| {
        let name = document["metadata"]["name"].as_str().unwrap();
        assert_eq!(name, format!("hog-{}", scenario.name));
        match document["kind"].as_str().unwrap() {
            "Pod" => strict::<Pod>(document).spec,
            "Deployment" => strict::<Deployment>(document).spec.unwrap().template.spec,
            "Job" => strict::<Job>(document).spec.unwrap().template.spec,
            "Service" => {
                strict::<Service>(document);
                None
            }
            kind => panic!("what is a {kind}?"),
        }
    });
    let mut specs: Vec<_> = specs.collect();
    assert_eq!(specs.len(), 1, "{}", scenario.name);
    specs.remove(0)
}

fn containers(spec: &PodSpec) -> Vec<&Spec> {
    let init = spec.init_containers.iter().flatten();
    init.chain(&spec.containers).collect()
}

#[test]
fn there_is_one_manifest_for_each_scenario_and_no_other() {
    let files = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<_> = files
        .map(|name| name.into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    let wanted = ALL.iter().map(|scenario| format!("{}.yaml", scenario.name));
    assert_eq!(files, wanted.collect());
}

#[test]
fn each_tells_what_it_needs_shows_and_how_to_end_it() {
    for scenario in ALL {
        let text = text(scenario);
        assert!(text.starts_with(&format!("# Scenario `{}`: ", scenario.name)));
        for part in [
            "\n# Needs: ",
            "\n# Shows: ",
            "\n# End:   kubectl delete -f ",
        ] {
            assert!(text.contains(part), "{} lacks {part:?}", scenario.name);
        }
    }
}

#[test]
fn the_containers_are_those_of_the_table() {
    for scenario in ALL {
        let spec = pod_spec(scenario);
        let resources = spec.resources.as_ref().and_then(|all| all.limits.as_ref());
        let pod_limit = resources.map(|limits| parse_size(&limits["memory"].0).unwrap());
        assert_eq!(pod_limit, scenario.pod_limit, "{}", scenario.name);
        let specs = containers(&spec);
        if scenario.name == "service" {
            // Two replicas of one container stand for two containers.
            assert_eq!((specs.len(), scenario.containers.len()), (1, 2));
        } else {
            let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
            let wanted: Vec<_> = scenario.containers.iter().map(|c| c.name).collect();
            assert_eq!(names, wanted, "{}", scenario.name);
        }
        for (spec, container) in specs.into_iter().zip(scenario.containers) {
            same(scenario.name, spec, container);
        }
    }
}

fn same(scenario: &str, spec: &Spec, container: &Container) {
    let arguments = spec.args.as_deref().unwrap_or_default();
    assert_eq!(arguments, container.arguments, "{scenario}");
    let environment = spec.env.as_deref().unwrap_or_default();
    for (name, value) in container.environment {
        let found = environment.iter().find(|variable| variable.name == *name);
        let found = found.and_then(|variable| variable.value.as_deref());
        assert_eq!(found, Some(*value), "{scenario}: {name}");
    }
    let limits = spec.resources.as_ref().and_then(|all| all.limits.as_ref());
    let limit = limits.map(|limits| parse_size(&limits["memory"].0).unwrap());
    assert_eq!(limit, container.limit, "{scenario}");
}

#[test]
fn nothing_in_them_asks_for_more_than_a_hog_needs() {
    for scenario in ALL {
        let spec = pod_spec(scenario);
        assert_eq!(
            spec.automount_service_account_token,
            Some(false),
            "{}",
            scenario.name
        );
        let security = spec.security_context.clone().unwrap();
        assert_eq!(security.run_as_non_root, Some(true), "{}", scenario.name);
        for container in containers(&spec) {
            let security = container.security_context.clone().unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.read_only_root_filesystem, Some(true));
            let dropped = security.capabilities.unwrap().drop.unwrap();
            assert_eq!(dropped, ["ALL"], "{}", scenario.name);
        }
    }
}
