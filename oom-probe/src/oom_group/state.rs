//! `/api/v1/oom-group` and the series of held containers: what the keeper knows, for others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    annotation::{Setting, refusals},
    keeper::{Group, Keeper},
    metrics::InfoLabels,
    step::{Wanted, wanted},
};
use capture::model::{
    cgroup_path::{CgroupPath, names},
    container::ContainerId,
};

/// The body of `/api/v1/oom-group`.
#[derive(Debug, Serialize)]
struct State<'a> {
    schema: u32,
    node: &'a str,
    /// Whether this node's cgroups have `memory.oom.group`: v2 has, v1 has not.
    supported: bool,
    containers: Vec<Container>,
    refused: Vec<Refused>,
}

/// A run of a container of an annotated pod.
#[derive(Debug, Serialize)]
struct Container {
    namespace: String,
    pod: String,
    uid: String,
    /// Absent until the pod's status names it, and for a pod's sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    container_id: String,
    /// What the annotation asks for; absent where it asks for nothing or the name is not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<Setting>,
    /// All of its cgroups have that value.
    held: bool,
    cgroups: Vec<Cgroup>,
}

#[derive(Debug, Serialize)]
struct Cgroup {
    path: CgroupPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Setting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<Setting>,
    writes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_write: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Refused {
    namespace: String,
    pod: String,
    uid: String,
    annotation: String,
    value: String,
    reason: String,
}

impl Keeper {
    /// The state as JSON.
    #[must_use]
    pub fn to_json(&self, node: &str) -> String {
        let state = State {
            schema: 1,
            node,
            supported: self.is_supported(),
            containers: self.containers(),
            refused: self.refused(),
        };
        serde_json::to_string(&state).map_or_else(
            |error| serde_json::json!({"error": error.to_string()}).to_string(),
            |text| text + "\n",
        )
    }

    /// How many containers are kept at a value.
    #[must_use]
    pub fn held(&self) -> usize {
        self.containers().iter().filter(|run| run.held).count()
    }

    /// Brings the metrics up to date.
    pub fn refresh(&self) {
        self.metrics().set_refused(self.refused().len());
        let held = self.containers().into_iter().filter(|run| run.held);
        self.metrics().set_held(held.filter_map(|run| {
            Some(InfoLabels {
                namespace: run.namespace,
                pod: run.pod,
                container: run.container?,
                value: run.wanted?,
            })
        }));
    }

    fn containers(&self) -> Vec<Container> {
        let mut runs: BTreeMap<ContainerId, Container> = BTreeMap::new();
        for (path, group) in self.groups() {
            let Some(pod) = self.index().by_uid(&group.pod) else {
                continue;
            };
            let (name, wanted) = wanted(&pod, &group.id);
            let asked = match wanted {
                Wanted::Hold(setting) => Some(setting),
                Wanted::Leave | Wanted::Unknown => None,
            };
            let run = runs.entry(group.id).or_insert_with(|| Container {
                namespace: pod.namespace.to_string(),
                pod: pod.name.to_string(),
                uid: pod.uid.to_string(),
                container: name.map(str::to_owned),
                container_id: group.id.to_string(),
                wanted: asked,
                held: asked.is_some(),
                cgroups: Vec::new(),
            });
            run.held &= group.value == asked;
            let path = self.root().and_then(|root| path.strip_prefix(root).ok());
            run.cgroups
                .push(Cgroup::new(path.unwrap_or("".as_ref()), group));
        }
        runs.into_values().collect()
    }

    fn refused(&self) -> Vec<Refused> {
        let of_pod = |pod: &std::sync::Arc<crate::kube::pod::Pod>| {
            let pod = pod.clone();
            refusals(&pod).into_iter().map(move |refusal| Refused {
                namespace: pod.namespace.to_string(),
                pod: pod.name.to_string(),
                uid: pod.uid.to_string(),
                annotation: refusal.annotation,
                value: refusal.value,
                reason: refusal.reason.to_string(),
            })
        };
        self.index().pods().flat_map(of_pod).collect()
    }
}

impl Cgroup {
    fn new(below_root: &std::path::Path, group: &Group) -> Self {
        Self {
            path: CgroupPath::from_levels(names(below_root.as_os_str().as_encoded_bytes())),
            value: group.value,
            original: group.original,
            writes: group.writes,
            last_write: group.last_write,
            error: group.error.clone(),
        }
    }
}
