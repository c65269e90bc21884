//! Pods for tests, in the JSON that the API server sends; also part of the integration tests, so
//! that this file knows nothing of the crate.

use serde_json::{Value, json};

/// A pod under construction.
#[derive(Clone, Debug)]
pub(crate) struct PodJson(pub(crate) Value);

/// The UID of pod number `n`.
pub(crate) fn uid(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

/// The id of container number `n`.
pub(crate) fn container_id(n: u32) -> String {
    format!("c{n:063x}")
}

/// The hash of static pod number `n`.
pub(crate) fn config_hash(n: u32) -> String {
    format!("{n:032x}")
}

/// `path` of a container's cgroup as the kubelet's cgroupfs driver names it.
pub(crate) fn container_path(pod: &str, container: u32) -> String {
    format!("/kubepods/burstable/pod{pod}/{}", container_id(container))
}

/// A running pod of namespace `shop` on `node-1`, with one container `app`.
pub(crate) fn pod(name: &str, n: u32) -> PodJson {
    PodJson(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": uid(n), "resourceVersion": format!("{n}"),
            "creationTimestamp": "2025-11-20T12:00:00Z",
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "registry/app:1"}]},
        "status": {"phase": "Running", "qosClass": "Burstable"},
    }))
}

impl PodJson {
    /// Adds a container to `spec.containers`.
    pub(crate) fn container(self, name: &str) -> Self {
        self.in_spec(
            "containers",
            json!({"name": name, "image": "registry/other:1"}),
        )
    }

    /// Adds an init container.
    pub(crate) fn init(self, name: &str) -> Self {
        self.in_spec(
            "initContainers",
            json!({"name": name, "image": "registry/init:1"}),
        )
    }

    /// Adds a sidecar.
    pub(crate) fn sidecar(self, name: &str) -> Self {
        let sidecar = json!({"name": name, "image": "registry/side:1", "restartPolicy": "Always"});
        self.in_spec("initContainers", sidecar)
    }

    /// Adds an ephemeral container.
    pub(crate) fn ephemeral(self, name: &str) -> Self {
        let debug = json!({"name": name, "image": "busybox", "targetContainerName": "app"});
        self.in_spec("ephemeralContainers", debug)
    }

    /// Says that a container runs as number `id`.
    pub(crate) fn running(self, name: &str, id: u32) -> Self {
        self.status(
            name,
            &json!({
                "containerID": format!("containerd://{}", container_id(id)),
                "state": {"running": {"startedAt": "2025-11-20T12:00:10Z"}},
            }),
        )
    }

    /// Says that the container's run number `id` ended with `exit_code` at a time of that day.
    pub(crate) fn terminated(self, name: &str, id: u32, exit_code: i32, finished: &str) -> Self {
        let terminated = ended(id, exit_code, finished);
        self.status(
            name,
            &json!({
                "containerID": format!("containerd://{}", container_id(id)), "state": terminated,
            }),
        )
    }

    /// Says that the container runs as number `id`, after number `last` ended.
    pub(crate) fn restarted(self, name: &str, id: u32, last: u32, finished: &str) -> Self {
        self.running(name, id)
            .status(name, &json!({"lastState": ended(last, 137, finished)}))
    }

    /// Makes a ReplicaSet of a Deployment its owner.
    pub(crate) fn of_deployment(mut self, name: &str) -> Self {
        self.0["metadata"]["labels"] = json!({"pod-template-hash": "7d9f8b6c5d"});
        self.owned("ReplicaSet", &format!("{name}-7d9f8b6c5d"))
    }

    /// Makes something else its owner.
    pub(crate) fn owned(mut self, kind: &str, name: &str) -> Self {
        self.0["metadata"]["ownerReferences"] =
            json!([{"kind": kind, "name": name, "controller": true}]);
        self
    }

    /// Makes it the mirror of a static pod.
    pub(crate) fn mirror_of(mut self, hash: u32) -> Self {
        let hash = config_hash(hash);
        self.0["metadata"]["annotations"] = json!({
            "kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash,
            "kubernetes.io/config.source": "file",
        });
        self.owned("Node", "node-1")
    }

    /// Sets `status.phase`.
    pub(crate) fn phase(mut self, phase: &str) -> Self {
        self.0["status"]["phase"] = json!(phase);
        self
    }

    /// Sets a field of the spec.
    pub(crate) fn spec(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }

    fn in_spec(mut self, list: &str, container: Value) -> Self {
        push(&mut self.0["spec"][list], container);
        self
    }

    fn status(mut self, name: &str, fields: &Value) -> Self {
        let list = [
            ("containers", "containerStatuses"),
            ("initContainers", "initContainerStatuses"),
            ("ephemeralContainers", "ephemeralContainerStatuses"),
        ]
        .into_iter()
        .find(|(spec, _)| position(&self.0["spec"][*spec], name).is_some())
        .expect("the container is in the spec")
        .1;
        let statuses = &mut self.0["status"][list];
        let at = position(statuses, name).unwrap_or_else(|| {
            push(statuses, json!({"name": name}));
            statuses.as_array().map_or(0, |all| all.len() - 1)
        });
        for (field, value) in fields.as_object().into_iter().flatten() {
            statuses[at][field] = value.clone();
        }
        self
    }
}

fn ended(id: u32, exit_code: i32, finished: &str) -> Value {
    json!({"terminated": {
        "containerID": format!("containerd://{}", container_id(id)), "exitCode": exit_code,
        "reason": if exit_code == 0 { "Completed" } else { "OOMKilled" },
        "startedAt": "2025-11-20T12:00:01Z", "finishedAt": format!("2025-11-20T{finished}Z"),
    }})
}

fn position(list: &Value, name: &str) -> Option<usize> {
    list.as_array()?
        .iter()
        .position(|container| container["name"] == name)
}

fn push(list: &mut Value, value: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(value),
        None => *list = json!([value]),
    }
}
