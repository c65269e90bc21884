//! Objects as the API server reads them: what it does not know is refused, and what it demands is
//! there. For Kubernetes' own kinds an object must read back from the API's types as it was written:
//! an unknown field would be gone, a missing one would have appeared.

use k8s_openapi::api::{apps, core, networking, rbac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::objects::{Objects, committed};
use super::resources;

/// Panics with the first object that is not valid.
pub(crate) fn assert_valid(origin: &str, objects: &Objects) {
    for (name, object) in objects {
        if let Err(error) = validate(object) {
            panic!("{origin}: {name}: {error}");
        }
    }
}

fn validate(object: &Value) -> Result<(), String> {
    let of = |field: &str| object[field].as_str().unwrap_or_default();
    match (of("apiVersion"), of("kind")) {
        ("v1", "Namespace") => reads_back::<core::v1::Namespace>(object),
        ("v1", "ServiceAccount") => reads_back::<core::v1::ServiceAccount>(object),
        ("v1", "ResourceQuota") => reads_back::<core::v1::ResourceQuota>(object),
        ("v1", "ConfigMap") => reads_back::<core::v1::ConfigMap>(object),
        ("v1", "Service") => reads_back::<core::v1::Service>(object),
        ("apps/v1", "DaemonSet") => reads_back::<apps::v1::DaemonSet>(object),
        ("apps/v1", "Deployment") => reads_back::<apps::v1::Deployment>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => {
            reads_back::<networking::v1::NetworkPolicy>(object)
        }
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => {
            reads_back::<rbac::v1::ClusterRole>(object)
        }
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            reads_back::<rbac::v1::ClusterRoleBinding>(object)
        }
        ("monitoring.coreos.com/v1", "PodMonitor") => known::<resources::PodMonitor>(object),
        ("monitoring.coreos.com/v1", "ServiceMonitor") => {
            known::<resources::ServiceMonitor>(object)
        }
        ("monitoring.coreos.com/v1", "PrometheusRule") => {
            known::<resources::PrometheusRule>(object)
        }
        ("security.openshift.io/v1", "SecurityContextConstraints") => {
            known::<resources::SecurityContextConstraints>(object)
        }
        (version, kind) => Err(format!("nothing is known of {version} {kind}")),
    }
}

fn reads_back<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let back = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    difference("", object, &back).map_or(Ok(()), Err)
}

fn known<T: DeserializeOwned>(object: &Value) -> Result<(), String> {
    serde_json::from_value::<T>(object.clone())
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Where two values differ first.
fn difference(path: &str, written: &Value, back: &Value) -> Option<String> {
    match (written, back) {
        (Value::Object(written), Value::Object(back)) => {
            let gone = written.keys().find(|key| !back.contains_key(*key));
            let new = back.keys().find(|key| !written.contains_key(*key));
            gone.map(|key| format!("{path}.{key} is no field"))
                .or_else(|| new.map(|key| format!("{path}.{key} is missing")))
                .or_else(|| {
                    written.iter().find_map(|(key, value)| {
                        difference(&format!("{path}.{key}"), value, &back[key])
                    })
                })
        }
        (Value::Array(written), Value::Array(back)) if written.len() == back.len() => written
            .iter()
            .zip(back)
            .enumerate()
            .find_map(|(at, (written, back))| difference(&format!("{path}[{at}]"), written, back)),
        (written, back) => (written != back).then(|| format!("{path} is read as {back}")),
    }
}

#[test]
fn committed_manifests_are_valid() {
    let manifests = committed();
    assert!(manifests.len() >= 4);
    for (file, objects) in manifests {
        assert_valid(&file, &objects);
    }
}

#[test]
fn mistakes_are_found() {
    let (_, objects) = committed().swap_remove(0);
    let daemon_set = &objects["apps/v1 DaemonSet oom-probe/oom-probe"];
    assert_eq!(validate(daemon_set), Ok(()));
    let cases: [(&str, Value, &str); 4] = [
        (
            "/spec/template/spec/hostPid",
            true.into(),
            "hostPid is no field",
        ),
        ("/spec/selector", Value::Null, ".spec.selector is missing"),
        (
            "/spec/template/spec/containers/0/ports/0/containerPort",
            "x".into(),
            "invalid type",
        ),
        ("/kind", "DemonSet".into(), "nothing is known"),
    ];
    for (pointer, value, expected) in cases {
        let mut object = daemon_set.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(key);
        } else {
            parent.insert(key.into(), value);
        }
        let error = validate(&object).unwrap_err();
        assert!(error.contains(expected), "{pointer}: {error}");
    }
}
