//! Which pod and container a cgroup belongs to: fed with pods, asked with cgroup paths.
//!
//! A pure data structure: the watch or a test feeds it, and time is passed in.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    names::Names,
    object,
    pod::{Container, Pod, Rejected},
};
use crate::model::{container::ContainerId, identity::Identity, pod::PodUid};

/// How long a deleted pod is remembered: far longer than a record takes to be read, and than the
/// kubelet takes to stop a container whose pod was deleted by force.
pub const GRACE: Duration = Duration::from_secs(600);
/// Pods of one node: several times of what the largest nodes run.
pub const MAX_PODS: usize = 4096;
/// Deleted pods that are remembered; beyond that the oldest go before their time.
pub const MAX_GONE: usize = 1024;

/// The pods of this node, those that were deleted a moment ago, and their containers.
#[derive(Debug, Default)]
pub struct Index {
    pods: HashMap<PodUid, Entry>,
    gone: HashMap<PodUid, Arc<Pod>>,
    /// Deleted pods, the oldest first.
    buried: VecDeque<(Instant, PodUid)>,
    /// What the kubelet calls a static pod by, to its mirror in the API.
    mirrors: HashMap<PodUid, PodUid>,
    /// Runs of containers, to the last pod that named them.
    runs: HashMap<ContainerId, PodUid>,
    names: Names,
    generation: u32,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<Pod>,
    /// The list that last had it.
    generation: u32,
    /// It is known from before a restart only: whether it is still there, no list has said yet.
    remembered: bool,
}

/// What the index knows of a cgroup.
#[derive(Clone, Debug)]
pub enum Found {
    /// A container, by its id.
    Container(InPod, usize),
    /// The pod's own cgroup: no container.
    Sandbox(InPod),
    /// A container whose id no status has named, of a pod that is known.
    Unlisted(InPod),
    /// No such pod.
    Nothing,
}

/// A pod, and whether what was asked for is past.
#[derive(Clone, Debug)]
pub struct InPod {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The pod is deleted, or the container has been started anew since.
    pub past: bool,
    /// Known from before a restart only.
    pub remembered: bool,
}

/// Why a pod was not taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The object is no pod.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// There are too many.
    #[error("there are {MAX_PODS} pods already")]
    Full,
}

impl Index {
    /// Takes up a pod as it is now.
    pub fn apply(&mut self, object: &object::Pod, now: Instant) -> Result<Arc<Pod>, Refused> {
        self.expire(now);
        let uid = object.metadata.uid.parse().ok();
        let before = uid.and_then(|uid| {
            let live = self.pods.get(&uid).map(|entry| &entry.pod);
            live.or_else(|| self.gone.get(&uid)).cloned()
        });
        if self.pods.len() >= MAX_PODS && uid.is_some_and(|uid| !self.pods.contains_key(&uid)) {
            return Err(Refused::Full);
        }
        let pod = Arc::new(Pod::new(object, before.as_deref(), &mut self.names)?);
        if let Some(before) = &before {
            self.forget_ids(before);
        }
        self.gone.remove(&pod.uid);
        self.remember_ids(&pod);
        let entry = Entry {
            pod: pod.clone(),
            generation: self.generation,
            remembered: false,
        };
        self.pods.insert(pod.uid, entry);
        Ok(pod)
    }

    /// Takes up a pod of before a restart; `gone` says since when it is deleted.
    pub fn restore(&mut self, pod: Arc<Pod>, gone: Option<Instant>) {
        if self.pods.len() >= MAX_PODS {
            return;
        }
        let uid = pod.uid;
        self.remember_ids(&pod);
        let entry = Entry {
            pod,
            generation: self.generation,
            remembered: true,
        };
        self.pods.insert(uid, entry);
        if let Some(since) = gone {
            self.bury(&uid, since);
        }
    }

    /// A pod of before a restart is there still, though no list has said so yet.
    pub fn confirm(&mut self, uid: &PodUid) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.remembered = false;
        }
    }

    /// Makes a pod of before a restart a tombstone.
    pub fn restore_gone(&mut self, uid: &PodUid, since: Instant) -> Option<Arc<Pod>> {
        let pod = self.pods.get(uid)?.pod.clone();
        self.bury(uid, since);
        Some(pod)
    }

    /// The pods that were deleted, and when, the oldest first.
    pub fn gone(&self) -> impl Iterator<Item = (&Arc<Pod>, Instant)> {
        self.buried
            .iter()
            .filter_map(|(since, uid)| Some((self.gone.get(uid)?, *since)))
    }

    /// Makes a pod that was deleted a tombstone, with what its last state says.
    pub fn delete(&mut self, object: &object::Pod, now: Instant) -> Option<Arc<Pod>> {
        let uid = object.metadata.uid.parse().ok()?;
        if !self.pods.contains_key(&uid) {
            return None;
        }
        // The last state of a short-lived pod may be the first that names its containers.
        let pod = self.apply(object, now).ok();
        let pod = pod.or_else(|| self.pods.get(&uid).map(|entry| entry.pod.clone()))?;
        self.bury(&uid, now);
        Some(pod)
    }

    /// A list of all pods begins.
    pub fn begin_list(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The list is complete: what it did not have is gone. Returns those pods.
    pub fn finish_list(&mut self, now: Instant) -> Vec<Arc<Pod>> {
        let missed: Vec<_> = self
            .pods
            .values()
            .filter(|entry| entry.generation != self.generation)
            .map(|entry| entry.pod.clone())
            .collect();
        for pod in &missed {
            self.bury(&pod.uid, now);
        }
        missed
    }

    /// Drops the tombstones whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while let Some(&(buried, uid)) = self.buried.front()
            && (self.buried.len() > MAX_GONE || now.saturating_duration_since(buried) >= GRACE)
        {
            self.buried.pop_front();
            // A pod that came back and went again has a younger tombstone.
            if self.buried.iter().all(|(_, later)| *later != uid)
                && let Some(pod) = self.gone.remove(&uid)
            {
                self.forget_ids(&pod);
            }
        }
    }

    /// Whose cgroup that is: the container by its id, else the pod by its UID.
    pub fn lookup(&self, identity: &Identity) -> Found {
        let by_uid = identity.pod.and_then(|uid| self.pod(&uid));
        let Some(id) = &identity.container else {
            return by_uid.map_or(Found::Nothing, Found::Sandbox);
        };
        // Should two pods have named the id, the one that the path names is right: a static pod's
        // mirror is made anew while its containers run on.
        by_uid
            .iter()
            .find_map(|found| in_container(found, id))
            .or_else(|| in_container(&self.pod(self.runs.get(id)?)?, id))
            .or(by_uid.map(Found::Unlisted))
            .unwrap_or(Found::Nothing)
    }

    /// The container that has or had a run of this id.
    pub fn container_of_run(&self, id: &ContainerId) -> Option<(Arc<Pod>, usize)> {
        match in_container(&self.pod(self.runs.get(id)?)?, id)? {
            Found::Container(InPod { pod, .. }, at) => Some((pod, at)),
            _ => None,
        }
    }

    /// The pod of that UID, or of that config hash, deleted or not.
    pub fn by_uid(&self, uid: &PodUid) -> Option<Arc<Pod>> {
        self.pod(uid).map(|found| found.pod)
    }

    /// When that run of a container ended; absent while it runs and where it is not known.
    pub fn finished_at(&self, id: &ContainerId) -> Option<Timestamp> {
        let (pod, at) = self.container_of_run(id)?;
        pod.containers.get(at)?.run(id)?.finished_at
    }

    /// What that run of a container exited with; absent while it runs and where it is not known.
    pub fn exit_code(&self, id: &ContainerId) -> Option<i32> {
        let (pod, at) = self.container_of_run(id)?;
        pod.containers.get(at)?.run(id)?.exit_code
    }

    /// The pod of that UID, unless it is deleted.
    pub fn live(&self, uid: &PodUid) -> Option<&Arc<Pod>> {
        self.pods.get(uid).map(|entry| &entry.pod)
    }

    /// The pods that are not deleted.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values().map(|entry| &entry.pod)
    }

    /// How many pods are not deleted.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn pod(&self, uid: &PodUid) -> Option<InPod> {
        let uid = self.mirrors.get(uid).unwrap_or(uid);
        if let Some(entry) = self.pods.get(uid) {
            return Some(InPod {
                pod: entry.pod.clone(),
                past: false,
                remembered: entry.remembered,
            });
        }
        Some(InPod {
            pod: self.gone.get(uid)?.clone(),
            past: true,
            remembered: false,
        })
    }

    fn bury(&mut self, uid: &PodUid, now: Instant) {
        if let Some(Entry { pod, .. }) = self.pods.remove(uid) {
            self.gone.insert(*uid, pod);
            self.buried.push_back((now, *uid));
            self.expire(now);
        }
    }

    fn remember_ids(&mut self, pod: &Pod) {
        if let Some(hash) = pod.config_hash {
            self.mirrors.insert(hash, pod.uid);
        }
        self.runs.extend(pod.run_ids().map(|id| (id, pod.uid)));
    }

    fn forget_ids(&mut self, pod: &Pod) {
        if let Some(hash) = pod.config_hash
            && self.mirrors.get(&hash) == Some(&pod.uid)
        {
            self.mirrors.remove(&hash);
        }
        for id in pod.run_ids() {
            if self.runs.get(&id) == Some(&pod.uid) {
                self.runs.remove(&id);
            }
        }
    }
}

impl InPod {
    /// The container at that place of the pod's list.
    pub fn container(&self, at: usize) -> Option<&Container> {
        self.pod.containers.get(at)
    }
}

fn in_container(found: &InPod, id: &ContainerId) -> Option<Found> {
    let containers = &found.pod.containers;
    let at = containers
        .iter()
        .position(|container| container.run(id).is_some())?;
    let past = found.past || !containers[at].is_newest(id);
    let pod = InPod {
        past,
        ..found.clone()
    };
    Some(Found::Container(pod, at))
}

#[cfg(test)]
mod tests;
