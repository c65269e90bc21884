//! The part of a Pod that the daemon reads, and nothing else of it.
//!
//! A Pod of a real cluster takes 8 to 30 KB of JSON, most of it `managedFields`, volumes, probes
//! and environment. Deserialising into these types never builds any of that: an entry of the
//! [index](super::index) takes about 1 KB.
//!
//! Every field may be missing or null: the API server omits empty ones.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// `io.k8s.api.core.v1.Pod`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Pod {
    /// `metadata`.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// `spec`.
    #[serde(default, deserialize_with = "or_default")]
    pub spec: Spec,
    /// `status`.
    #[serde(default, deserialize_with = "or_default")]
    pub status: Status,
}

/// `io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// `name`.
    #[serde(deserialize_with = "or_default")]
    pub name: Box<str>,
    /// `namespace`.
    #[serde(deserialize_with = "or_default")]
    pub namespace: Box<str>,
    /// `uid`.
    #[serde(deserialize_with = "or_default")]
    pub uid: Box<str>,
    /// `resourceVersion`: an opaque token.
    #[serde(deserialize_with = "or_default")]
    pub resource_version: Box<str>,
    /// `creationTimestamp`.
    pub creation_timestamp: Option<Timestamp>,
    /// `labels`.
    #[serde(deserialize_with = "or_default")]
    pub labels: Labels,
    /// `annotations`.
    #[serde(deserialize_with = "or_default")]
    pub annotations: Annotations,
    /// `ownerReferences`.
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<OwnerReference>,
}

/// The labels that tell to which workload a pod belongs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Labels {
    /// Set by the Deployment controller on its ReplicaSets and their pods, and by nothing else.
    #[serde(rename = "pod-template-hash")]
    pub pod_template_hash: Option<Box<str>>,
    /// The same of Argo Rollouts.
    #[serde(rename = "rollouts-pod-template-hash")]
    pub rollouts_pod_template_hash: Option<Box<str>>,
}

/// The annotations that the kubelet puts on the mirror of a static pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// Hash of the manifest: what the kubelet names the pod's cgroup by.
    #[serde(rename = "kubernetes.io/config.hash")]
    pub config_hash: Option<Box<str>>,
    /// The same, on the mirror pod.
    #[serde(rename = "kubernetes.io/config.mirror")]
    pub config_mirror: Option<Box<str>>,
}

/// `io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// `apiVersion`.
    #[serde(deserialize_with = "or_default")]
    pub api_version: Box<str>,
    /// `kind`.
    #[serde(deserialize_with = "or_default")]
    pub kind: Box<str>,
    /// `name`.
    #[serde(deserialize_with = "or_default")]
    pub name: Box<str>,
    /// `controller`: whether this is the one owner that manages the pod.
    #[serde(deserialize_with = "or_default")]
    pub controller: bool,
}

/// `io.k8s.api.core.v1.PodSpec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// `nodeName`.
    #[serde(deserialize_with = "or_default")]
    pub node_name: Box<str>,
    /// `hostPID`.
    #[serde(rename = "hostPID", deserialize_with = "or_default")]
    pub host_pid: bool,
    /// `shareProcessNamespace`.
    #[serde(deserialize_with = "or_default")]
    pub share_process_namespace: bool,
    /// `containers`.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    /// `initContainers`, sidecars among them.
    #[serde(deserialize_with = "or_default")]
    pub init_containers: Vec<Container>,
    /// `ephemeralContainers`.
    #[serde(deserialize_with = "or_default")]
    pub ephemeral_containers: Vec<Container>,
}

/// `io.k8s.api.core.v1.Container` and `EphemeralContainer`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// `name`.
    #[serde(deserialize_with = "or_default")]
    pub name: Box<str>,
    /// `image`.
    #[serde(deserialize_with = "or_default")]
    pub image: Box<str>,
    /// `restartPolicy`: `Always` makes an init container a sidecar.
    pub restart_policy: Option<Box<str>>,
}

/// `io.k8s.api.core.v1.PodStatus`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// `phase`.
    #[serde(deserialize_with = "or_default")]
    pub phase: Box<str>,
    /// `qosClass`.
    pub qos_class: Option<Box<str>>,
    /// `containerStatuses`.
    #[serde(deserialize_with = "or_default")]
    pub container_statuses: Vec<ContainerStatus>,
    /// `initContainerStatuses`.
    #[serde(deserialize_with = "or_default")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// `ephemeralContainerStatuses`.
    #[serde(deserialize_with = "or_default")]
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// `io.k8s.api.core.v1.ContainerStatus`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// `name`.
    #[serde(deserialize_with = "or_default")]
    pub name: Box<str>,
    /// `containerID`: `<runtime>://<id>`; while a crashed container waits, that of its last run.
    #[serde(rename = "containerID", deserialize_with = "or_default")]
    pub container_id: Box<str>,
    /// `state`.
    #[serde(deserialize_with = "or_default")]
    pub state: ContainerState,
    /// `lastState`.
    #[serde(deserialize_with = "or_default")]
    pub last_state: ContainerState,
}

/// `io.k8s.api.core.v1.ContainerState`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// `running`.
    pub running: Option<Running>,
    /// `terminated`.
    pub terminated: Option<Terminated>,
}

/// `io.k8s.api.core.v1.ContainerStateRunning`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    /// `startedAt`, to the second.
    pub started_at: Option<Timestamp>,
}

/// `io.k8s.api.core.v1.ContainerStateTerminated`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// `containerID`.
    #[serde(rename = "containerID", deserialize_with = "or_default")]
    pub container_id: Box<str>,
    /// `exitCode`.
    #[serde(deserialize_with = "or_default")]
    pub exit_code: i32,
    /// `startedAt`, to the second.
    pub started_at: Option<Timestamp>,
    /// `finishedAt`, to the second.
    pub finished_at: Option<Timestamp>,
}

/// Null means the same as absent.
fn or_default<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
