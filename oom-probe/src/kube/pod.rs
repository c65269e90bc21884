//! A pod as the index keeps it: what a lookup, a series or an Event needs, in about 1 KB.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{names::Names, object, workload};
use crate::model::{
    container::ContainerId,
    kill::{PodRef, Workload},
    pod::{PodUid, Qos},
};

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: PodUid,
    /// What the kubelet names a static pod's cgroup by.
    pub config_hash: Option<PodUid>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Quality of service class.
    pub qos: Option<Qos>,
    /// What it belongs to.
    pub workload: Option<Arc<Workload>>,
    /// Whose processes its containers see.
    pub pid_namespace: PidNamespace,
    /// Succeeded or Failed: no container of it runs or will run again.
    pub finished: bool,
    /// Its annotations about `memory.oom.group`: what follows [`object::OOM_GROUP`] in the key, and the
    /// value.
    #[serde(skip)]
    pub oom_group: Box<[(Box<str>, Box<str>)]>,
    /// In the order of the spec: init, ordinary, ephemeral.
    pub containers: Box<[Container]>,
}

/// Whose processes the containers of a pod see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidNamespace {
    /// Each container its own.
    Container,
    /// Those of the whole pod: `shareProcessNamespace`.
    Pod,
    /// Those of the node: `hostPID`.
    Node,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Name, unique in the pod.
    pub name: Arc<str>,
    /// Image as the spec names it.
    pub image: Arc<str>,
    /// What it is there for.
    pub kind: ContainerKind,
    /// An init container that has done its work and will not run again.
    pub done: bool,
    /// Its runs, the newest first.
    pub runs: Box<[Run]>,
}

/// What a container is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerKind {
    /// One of `spec.containers`.
    App,
    /// Runs to its end before the others start.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    /// Added to a running pod, for debugging.
    Ephemeral,
}

/// One run of a container: a restart makes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What its cgroup is named by.
    pub id: ContainerId,
    /// To the second.
    pub started_at: Option<Timestamp>,
    /// To the second; absent while it runs.
    pub finished_at: Option<Timestamp>,
    /// What it exited with; absent while it runs.
    pub exit_code: Option<i32>,
}

/// What makes an object no pod that could be indexed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Every pod of a real API server has a UUID.
    #[error("its uid is no UUID")]
    Uid,
    /// Absent, or longer than the API allows.
    #[error("its name or namespace is empty or longer than {MAX_NAME} bytes")]
    Name,
}

/// `k8s.io/apimachinery/pkg/util/validation`, `DNS1123SubdomainMaxLength`.
const MAX_NAME: usize = 253;
/// More than any pod has; what lies behind is left out.
const MAX_CONTAINERS: usize = 256;
/// A container that restarts starts at most every 10 s once it has crashed twice.
const MAX_RUNS: usize = 4;
/// Longer image names are not shown.
const MAX_IMAGE: usize = 512;

impl Pod {
    /// Reads an object. `before` is the pod as it was known until now: runs that the status has
    /// forgotten are kept from it.
    pub fn new(
        object: &object::Pod,
        before: Option<&Self>,
        names: &mut Names,
    ) -> Result<Self, Rejected> {
        let object::Pod {
            metadata,
            spec,
            status,
        } = object;
        let uid: PodUid = metadata.uid.parse().map_err(|_| Rejected::Uid)?;
        if [&metadata.name, &metadata.namespace]
            .into_iter()
            .any(|name| name.is_empty() || name.len() > MAX_NAME)
        {
            return Err(Rejected::Name);
        }
        let annotations = &metadata.annotations;
        let containers = containers(spec, status)
            .filter(|(container, ..)| (1..=MAX_NAME).contains(&container.name.len()))
            .take(MAX_CONTAINERS)
            .map(|(container, kind, status)| {
                let before = before.and_then(|pod| pod.container(&container.name));
                Container::new(container, kind, status, before, names)
            })
            .collect();
        Ok(Self {
            uid,
            config_hash: [&annotations.config_hash, &annotations.config_mirror]
                .into_iter()
                .find_map(|hash| hash.as_deref()?.parse().ok()),
            namespace: names.intern(&metadata.namespace),
            name: names.intern(&metadata.name),
            qos: status.qos_class.as_deref().and_then(qos),
            workload: match before {
                // Owners do not change; most objects are updates.
                Some(before) => before.workload.clone(),
                None => workload::of(metadata).map(|owner| Arc::new(owner.workload)),
            },
            pid_namespace: if spec.host_pid {
                PidNamespace::Node
            } else if spec.share_process_namespace {
                PidNamespace::Pod
            } else {
                PidNamespace::Container
            },
            finished: matches!(&*status.phase, "Succeeded" | "Failed"),
            oom_group: annotations.oom_group.as_slice().into(),
            containers,
        })
    }

    /// The container of that name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| &*container.name == name)
    }

    /// The container that has or had a run of that id.
    pub fn container_of_run(&self, id: &ContainerId) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| container.run(id).is_some())
    }

    /// Ids of all known runs.
    pub fn run_ids(&self) -> impl Iterator<Item = ContainerId> {
        self.containers
            .iter()
            .flat_map(|container| container.runs.iter().map(|run| run.id))
    }

    /// The pod part of a kill record, without a container.
    pub fn reference(&self) -> PodRef {
        PodRef {
            namespace: Some(self.namespace.to_string()),
            name: Some(self.name.to_string()),
            uid: Some(self.uid.to_string()),
            container: None,
            container_id: None,
            image: None,
            qos: self.qos.map(|qos| qos.as_str().to_owned()),
            workload: self.workload.as_deref().cloned(),
        }
    }
}

impl Container {
    fn new(
        spec: &object::Container,
        kind: ContainerKind,
        status: Option<&object::ContainerStatus>,
        before: Option<&Self>,
        names: &mut Names,
    ) -> Self {
        let state = status.map(|status| &status.state);
        let image = if spec.image.len() > MAX_IMAGE {
            ""
        } else {
            &spec.image
        };
        Self {
            name: names.intern(&spec.name),
            image: names.intern(image),
            kind,
            done: kind == ContainerKind::Init
                && state
                    .and_then(|state| state.terminated.as_ref())
                    .is_some_and(|terminated| terminated.exit_code == Some(0)),
            runs: runs(status, before.map_or(&[], |before| &before.runs)),
        }
    }

    /// The run of that id.
    pub fn run(&self, id: &ContainerId) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == *id)
    }

    /// Whether this is the id of the newest run that is known.
    pub fn is_newest(&self, id: &ContainerId) -> bool {
        self.runs.first().is_some_and(|run| run.id == *id)
    }
}

type WithStatus<'a> = (
    &'a object::Container,
    ContainerKind,
    Option<&'a object::ContainerStatus>,
);

fn containers<'a>(
    spec: &'a object::Spec,
    status: &'a object::Status,
) -> impl Iterator<Item = WithStatus<'a>> {
    let init = |container: &object::Container| match container.restart_policy.as_deref() {
        Some("Always") => ContainerKind::Sidecar,
        _ => ContainerKind::Init,
    };
    let with_status = |container: &'a object::Container,
                       kind: ContainerKind,
                       statuses: &'a [object::ContainerStatus]| {
        let status = statuses.iter().find(|status| status.name == container.name);
        (container, kind, status)
    };
    let init = spec.init_containers.iter().map(move |container| {
        with_status(container, init(container), &status.init_container_statuses)
    });
    let app = spec.containers.iter().map(move |container| {
        with_status(container, ContainerKind::App, &status.container_statuses)
    });
    let ephemeral = spec.ephemeral_containers.iter().map(move |container| {
        let statuses = &status.ephemeral_container_statuses;
        with_status(container, ContainerKind::Ephemeral, statuses)
    });
    init.chain(app).chain(ephemeral)
}

/// The runs that the status names, then those that it named before.
fn runs(status: Option<&object::ContainerStatus>, before: &[Run]) -> Box<[Run]> {
    let mut runs: Vec<Run> = Vec::with_capacity(2);
    let mut add = |run: Run| {
        if let Some(known) = runs.iter_mut().find(|known| known.id == run.id) {
            known.started_at = known.started_at.or(run.started_at);
            known.finished_at = known.finished_at.or(run.finished_at);
            known.exit_code = known.exit_code.or(run.exit_code);
        } else if runs.len() < MAX_RUNS {
            runs.push(run);
        }
    };
    if let Some(status) = status {
        let ended = [&status.state, &status.last_state]
            .into_iter()
            .filter_map(|state| state.terminated.as_ref());
        if let Some(id) = id(&status.container_id) {
            let running = status.state.running.as_ref();
            add(Run {
                id,
                started_at: running.and_then(|running| running.started_at),
                finished_at: None,
                exit_code: None,
            });
        }
        for terminated in ended {
            if let Some(id) = id(&terminated.container_id) {
                add(Run {
                    id,
                    started_at: terminated.started_at,
                    finished_at: terminated.finished_at,
                    exit_code: terminated.exit_code,
                });
            }
        }
    }
    before.iter().cloned().for_each(&mut add);
    runs.into_boxed_slice()
}

/// The id in `<runtime>://<id>`.
fn id(text: &str) -> Option<ContainerId> {
    text.rsplit_once("://")?.1.parse().ok()
}

fn qos(class: &str) -> Option<Qos> {
    Qos::ALL.iter().copied().find(|qos| qos.as_str() == class)
}

#[cfg(test)]
mod tests;
