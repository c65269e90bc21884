//! Pods as API servers send them: whole objects of several versions, and small ones.

use serde_json::{Value, json};

use crate::apiserver::pods::PodJson;

/// Whole objects, from `tests/fixtures/pods`.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../fixtures/pods/", $name))
    };
}
pub(crate) const BOUND: &str = fixture!("bound-1.31.json");
pub(crate) const CRONJOB: &str = fixture!("cronjob-docker-1.30.json");
pub(crate) const DEPLOYMENT: &str = fixture!("deployment-containerd-1.33.json");
pub(crate) const EPHEMERAL: &str = fixture!("ephemeral-crio-1.35.json");
pub(crate) const STATIC: &str = fixture!("static-containerd-1.28.json");

pub(crate) fn whole(text: &str) -> PodJson {
    PodJson(serde_json::from_str(text).unwrap())
}

/// Says of a container in a list of statuses that it has just started.
pub(crate) fn starts(mut pod: PodJson, list: &str, name: &str) -> PodJson {
    status(&mut pod, list, name)["state"] = json!({"running": {"startedAt": now()}});
    pod
}

/// Says of a container in a list of statuses that it has just ended.
pub(crate) fn ends(mut pod: PodJson, list: &str, name: &str, code: i32) -> PodJson {
    let status = status(&mut pod, list, name);
    let id = status["containerID"].clone();
    status["state"] = json!({"terminated": {
        "containerID": id, "exitCode": code, "finishedAt": now(),
    }});
    pod
}

fn status<'a>(pod: &'a mut PodJson, list: &str, name: &str) -> &'a mut Value {
    let statuses = pod.0["status"][list].as_array_mut().unwrap();
    let status = statuses.iter_mut().find(|status| status["name"] == name);
    status.unwrap()
}

/// As the kubelet tells it, to the second.
fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now().as_second();
    jiff::Timestamp::from_second(now).unwrap()
}

/// What the kubelet calls the pod by.
pub(crate) fn uid(pod: &PodJson) -> String {
    let metadata = &pod.0["metadata"];
    let hash = &metadata["annotations"]["kubernetes.io/config.hash"];
    let uid = hash.as_str().or(metadata["uid"].as_str());
    uid.unwrap().to_owned()
}

/// The id of a container's run without the runtime's name, from a list of statuses.
pub(crate) fn id(pod: &PodJson, list: &str, name: &str) -> String {
    let statuses = pod.0["status"][list].as_array().unwrap();
    let status = statuses.iter().find(|status| status["name"] == name);
    bare(&status.unwrap()["containerID"])
}

/// That of the run before it.
pub(crate) fn last_id(pod: &PodJson, name: &str) -> String {
    let statuses = pod.0["status"]["containerStatuses"].as_array().unwrap();
    let status = statuses.iter().find(|status| status["name"] == name);
    bare(&status.unwrap()["lastState"]["terminated"]["containerID"])
}

fn bare(id: &Value) -> String {
    let id = id.as_str().and_then(|id| id.split_once("://"));
    id.unwrap().1.to_owned()
}
