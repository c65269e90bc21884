//! The part of a Pod that the daemon reads, and nothing else of it.
//!
//! A Pod of a real cluster takes 8 to 30 KB of JSON, most of it `managedFields`, volumes, probes
//! and environment. Deserialising into these types never builds any of that: an entry of the
//! [index](super::index) takes about 1 KB.
//!
//! Every field may be missing or null: the API server omits empty ones.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};

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

/// The annotations that mean something here.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    /// `kubernetes.io/config.hash`, which the kubelet puts on the mirror of a static pod: hash of
    /// the manifest, what it names the pod's cgroup by.
    pub config_hash: Option<Box<str>>,
    /// `kubernetes.io/config.mirror`: the same, on the mirror pod.
    pub config_mirror: Option<Box<str>>,
    /// `oom-probe.io/memory.oom.group` and the same for single containers: what follows
    /// [`OOM_GROUP`] in the key, and the value. At most [`MAX_OOM_GROUP`].
    pub oom_group: Vec<(Box<str>, Box<str>)>,
}

/// Asks for a value of `memory.oom.group`; a container's name may follow behind a dot.
pub const OOM_GROUP: &str = "oom-probe.io/memory.oom.group";
/// As many as a pod may have containers here, and one for the pod.
pub const MAX_OOM_GROUP: usize = 257;

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnnotationsVisitor)
    }
}

struct AnnotationsVisitor;

impl<'de> Visitor<'de> for AnnotationsVisitor {
    type Value = Annotations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of annotations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
        let mut annotations = Annotations::default();
        // A key with an escape cannot be borrowed.
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "kubernetes.io/config.hash" => annotations.config_hash = map.next_value()?,
                "kubernetes.io/config.mirror" => annotations.config_mirror = map.next_value()?,
                key => match key.strip_prefix(OOM_GROUP) {
                    Some(rest) if annotations.oom_group.len() < MAX_OOM_GROUP => {
                        let value = map.next_value::<Option<Box<str>>>()?.unwrap_or_default();
                        annotations.oom_group.push((rest.into(), value));
                    }
                    _ => {
                        map.next_value::<IgnoredAny>()?;
                    }
                },
            }
        }
        Ok(annotations)
    }
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
    pub exit_code: Option<i32>,
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
