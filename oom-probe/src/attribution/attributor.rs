//! Whose kill it is: the pod, the container and its role, from the cgroup path and the pods of
//! this node.
//!
//! | the kill comes | then |
//! |---|---|
//! | for a container that is known | a record at once: `live` |
//! | after the pod was deleted or the container started anew | at once: `tombstone` |
//! | before a status names the container | [parked](Decision::Parked), then `late`; after the deadline `unresolved`, with what is known of the pod |
//! | while the API server is away | by the last known pods, else parked until it is back |
//! | in the pod's own cgroup | at once, container [`POD`](crate::model::kill::SANDBOX) |
//! | outside Kubernetes | at once: `host` |
//! | on another node of the same kernel | no record: [`Decision::OtherNode`] |
//!
//! Pods and kills are fed in by the one loop of the daemon, and time with them; nothing here waits,
//! reads a clock or talks to anybody.

use std::{sync::Arc, time::Instant};

pub use crate::attribution::pending::{AT_MOST, MAX_PARKED, PATIENCE};
use crate::{
    attribution::{
        answer::{answer, conclude, record},
        pending::Parking,
    },
    cgroup::node::NodeCgroups,
    kube::{
        PodEvent,
        index::{Found, Index, Refused},
        pod::Pod,
    },
    model::{
        kill::{Kill, Record},
        labels::{Attribution, Scope},
        pod::PodUid,
    },
    sys::repeats::Repeats,
};

/// What there is to attribute with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Pods will be fed in. Without them a kill has only its cgroup path.
    pub kubernetes: bool,
    /// Kills elsewhere are another node's on the same kernel (kind, k3d).
    pub node: NodeCgroups,
}

/// Attributes kills to pods.
#[derive(Debug, Default)]
pub struct Attributor {
    config: Config,
    index: Index,
    parked: Parking,
    refused: Repeats,
}

/// What becomes of a kill.
#[derive(Debug)]
pub enum Decision {
    /// It is attributed.
    Record(Box<Record>),
    /// Its record comes later.
    Parked {
        /// What will be its scope.
        scope: Scope,
        /// The kill.
        kill: Box<Kill>,
        /// The oldest that waited, where there was no room for both.
        displaced: Option<Box<Record>>,
    },
    /// It is another node's.
    OtherNode(Box<Kill>),
}

/// What a change of the pods led to.
#[derive(Debug, Default)]
pub struct PodUpdate {
    /// The pod as it is now.
    pub applied: Option<Arc<Pod>>,
    /// Something about that pod is new.
    pub changed: bool,
    /// Pods that are gone.
    pub gone: Vec<Arc<Pod>>,
    /// Parked kills whose container is known now, to be counted after the pods are applied.
    pub records: Vec<Record>,
    /// Why the pod was not taken up. Told once in ten minutes: there may be thousands of such.
    pub refused: Option<Refused>,
}

impl Attributor {
    /// Without any pod.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Decides whose a kill is.
    pub fn on_kill(&mut self, mut kill: Kill, now: Instant) -> Decision {
        self.identify(&mut kill);
        let scope = scope(&kill, self.config.node.root);
        match scope {
            Scope::OtherNode => return Decision::OtherNode(Box::new(kill)),
            Scope::Unknown => {
                return Decision::Record(Box::new(record(kill, scope, Attribution::Unresolved)));
            }
            Scope::Pod | Scope::Host => {}
        }
        let kill = Box::new(kill);
        match answer(&self.index, self.config.kubernetes, kill, Attribution::Live) {
            Ok(record) => Decision::Record(Box::new(record)),
            Err(kill) => {
                let displaced = self.parked.park(kill.clone(), now);
                let displaced =
                    displaced.map(|kill| Box::new(conclude(&self.index, *kill, Attribution::Late)));
                Decision::Parked {
                    scope,
                    kill,
                    displaced,
                }
            }
        }
    }

    /// Takes in what the watch tells.
    pub fn on_pods(&mut self, event: PodEvent, now: Instant) -> PodUpdate {
        let mut change = PodUpdate::default();
        match event {
            PodEvent::ListStarts => self.index.begin_list(),
            PodEvent::Listed(object) | PodEvent::Applied(object) => {
                let uid = object.metadata.uid.parse().ok();
                let before = uid.and_then(|uid| self.index.live(&uid).cloned());
                match self.index.apply(&object, now) {
                    Ok(pod) => {
                        change.changed = before.as_ref() != Some(&pod);
                        change.applied = Some(pod);
                    }
                    Err(refused) => change.refused = self.tell(refused, now),
                }
            }
            PodEvent::Deleted(object) => change.gone.extend(self.index.delete(&object, now)),
            PodEvent::Synced { listed } => {
                if listed {
                    change.gone = self.index.finish_list(now);
                }
                self.parked.set_synced(true, now);
            }
            PodEvent::Away => self.parked.set_synced(false, now),
        }
        let (index, kubernetes) = (&self.index, self.config.kubernetes);
        for pod in change.applied.iter().chain(&change.gone) {
            let records = self.parked.ask_again(pod, |kill| {
                answer(index, kubernetes, kill, Attribution::Late)
            });
            change.records.extend(records);
        }
        change
    }

    fn tell(&mut self, refused: Refused, now: Instant) -> Option<Refused> {
        // Whatever is wrong with the pod.
        self.refused.is_news("", now).then_some(refused)
    }

    /// Gives the kills whose time is over as what they are known to be.
    pub fn tick(&mut self, now: Instant) -> Vec<Record> {
        self.index.expire(now);
        let due = self.parked.take_due(now);
        due.into_iter()
            .map(|kill| conclude(&self.index, kill, Attribution::Late))
            .collect()
    }

    /// Gives all kills that wait as what they are known to be: nobody will ask again.
    pub fn conclude(&mut self) -> Vec<Record> {
        let waiting = self.parked.take_all();
        waiting
            .into_iter()
            .map(|kill| conclude(&self.index, kill, Attribution::Late))
            .collect()
    }

    /// Takes up a pod of before a restart, deleted or not.
    pub fn restore_pod(&mut self, pod: Arc<Pod>, gone: Option<Instant>) {
        if self.config.kubernetes {
            self.index.restore(pod, gone);
        }
    }

    /// The pod of such a kill, if it is known from before a restart only.
    pub fn unconfirmed(&self, kill: &Kill) -> Option<PodUid> {
        let found = self.index.lookup(&kill.identity);
        let (Found::Container(pod, _) | Found::Sandbox(pod) | Found::Unlisted(pod)) = found else {
            return None;
        };
        (pod.remembered && !pod.past).then_some(pod.pod.uid)
    }

    /// A pod of before a restart is there still: its cgroup says so.
    pub fn confirm(&mut self, uid: &PodUid) {
        self.index.confirm(uid);
    }

    /// A pod of before a restart was deleted before it, too.
    pub fn restore_gone(&mut self, uid: &PodUid, since: Instant) -> Option<Arc<Pod>> {
        self.index.restore_gone(uid, since)
    }

    /// Parks a kill that waited for its pod before a restart.
    pub fn restore_parked(&mut self, mut kill: Kill, now: Instant) {
        self.identify(&mut kill);
        let _displaced = self.parked.park(Box::new(kill), now);
    }

    /// Forgets a parked kill: its record is known.
    pub fn unpark(&mut self, id: &str) {
        self.parked.remove(id);
    }

    /// Reads whose cgroup it is from the levels below the node's own root.
    pub fn identify(&self, kill: &mut Kill) {
        let node = &self.config.node;
        kill.node_root_level = node.root_level(&kill.cgroup_ids);
        let path = kill.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_ref());
        if let Some(path) = path {
            let unit = kill.identity.unit_from_elsewhere().cloned();
            kill.identity = node.identify(path, kill.node_root_level).or_unit(unit);
        }
    }

    /// When [`Attributor::tick`] has something to do.
    pub fn next_tick(&self) -> Option<Instant> {
        self.parked.next_due()
    }

    /// The kills that wait for their pod.
    pub fn parked(&self) -> impl Iterator<Item = &Kill> {
        self.parked.iter()
    }

    /// Whether pods are fed in.
    pub fn has_kubernetes(&self) -> bool {
        self.config.kubernetes
    }

    /// The pods.
    pub fn index(&self) -> &Index {
        &self.index
    }
}

/// Whose processes the victim was among, by its cgroup alone.
pub fn scope(kill: &Kill, node_root: Option<u64>) -> Scope {
    if kill.cgroup.is_none() {
        return Scope::Unknown;
    }
    match node_root {
        Some(root) if !kill.cgroup_ids.contains(&root) => {
            // The root may be among the levels that the record had no room for.
            if kill.truncated || kill.cgroup_ids.iter().all(|id| *id == 0) {
                return Scope::Unknown;
            }
            return Scope::OtherNode;
        }
        _ => {}
    }
    if kill.identity.undecided {
        Scope::Unknown
    } else if kill.identity.pod.is_some() {
        Scope::Pod
    } else if kill
        .cgroup
        .as_ref()
        .is_some_and(|cgroup| cgroup.path.is_none())
    {
        Scope::Unknown
    } else {
        Scope::Host
    }
}

#[cfg(test)]
mod tests;
