//! From a cgroup path to the container, pod or systemd unit that it belongs to.
//!
//! Paths come from any runtime with either cgroup driver, nested in the container that is the node
//! (kind, k3d, minikube), and go on below the container (systemd in it, Docker in it, delegated
//! cgroups). What decides in such a nest:
//!
//! - The pod is the **outermost** pod component. Pods further in belong to a cluster that runs
//!   inside that pod, of which this node's kubelet knows nothing.
//! - The container is the outermost one below the pod; without a pod the outermost of the path.
//! - The unit is the innermost one that is not inside a container: what runs inside belongs to the
//!   container's own systemd.
//!
//! A node that is itself a container, or even in a pod of another cluster, sees its own pods right
//! when it passes only the levels below its own cgroup root.

use super::{
    component::{Component, qos_of_parent},
    kubepods::{Kubepods, Matched},
};
use crate::model::{
    container::{ContainerId, Runtime},
    labels::Limit,
    pod::{PodUid, Qos},
    unit::Unit,
};

/// What a cgroup path says.
///
/// Levels count from the leaf: 0 is the cgroup that the process is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The container, or the pod's sandbox (pause) container.
    pub container: Option<ContainerId>,
    /// The pod.
    pub pod: Option<PodUid>,
    /// What runs the container, where the name says it: names of the cgroupfs driver do not, but
    /// for those of CRI-O and Podman.
    pub runtime: Option<Runtime>,
    /// QoS class of the pod.
    pub qos: Option<Qos>,
    /// The systemd unit; also the container's own scope. Only slices above the process: absent.
    pub unit: Option<Unit>,
    /// Level of the container's own cgroup.
    pub container_level: Option<usize>,
    /// Level of the pod's own cgroup; absent, though the pod is known, where the runtime put the
    /// container outside of it (`<pod slice>:cri-containerd:<id>`).
    pub pod_level: Option<usize>,
    /// Level of the cgroup of a system container (LXC, systemd-nspawn) that the process is in.
    pub machine_level: Option<usize>,
    /// Level of the unit's own cgroup; absent, though the unit is known, where it has none in the
    /// memory controller's hierarchy.
    pub unit_level: Option<usize>,
    /// Below a cgroup where the kubelet makes pods: a container there may be one of a pod, though no
    /// name says so.
    pub in_pods: bool,
    /// Names are missing that may be those of a pod or its container: nothing may be said of whose it
    /// is.
    pub undecided: bool,
}

impl Identity {
    /// Reads the names of a path from the leaf to the root. An empty name (the root's own) is a
    /// level that says nothing. Any bytes are taken; what is not recognised is absent.
    ///
    /// An empty name below others stands for names that are not known, and then only those above it
    /// tell: what is below may be in a container that is not seen.
    ///
    /// What is named like a pod is taken for one, wherever it is; [`Kubepods::identify`] is stricter.
    pub fn parse<'a>(leaf_first: impl Iterator<Item = &'a [u8]>) -> Self {
        Kubepods::anywhere().identify(leaf_first)
    }

    /// The same where pods are in these places only.
    pub(super) fn in_places(names: &[&[u8]], places: &Kubepods) -> Self {
        let has_root = names.last().is_some_and(|name| name.is_empty());
        let names = &names[..names.len() - usize::from(has_root)];
        let unknown = names.iter().rposition(|name| name.is_empty());
        let first_known = unknown.map_or(0, |unknown| unknown + 1);
        let top_first: Vec<_> = names[first_known..].iter().rev().copied().collect();
        let Matched { levels, open } = places.matched(&top_first, names.len());
        let mut scan = Scan {
            pod_levels: levels,
            ..Scan::default()
        };
        for (level, name) in names.iter().enumerate().skip(first_known) {
            scan.step(level, name);
        }
        let identity = scan.finish();
        Self {
            in_pods: levels > 0,
            undecided: unknown.is_some() && open && identity.container.is_none(),
            ..identity
        }
    }

    /// Reads the bytes of a path, not what is printed of them.
    pub fn from_path(path: &[u8]) -> Self {
        Self::parse(path.rsplit(|&b| b == b'/').filter(|name| !name.is_empty()))
    }

    /// With a unit that is known from elsewhere, if the path names nothing: on cgroup v1 a unit need not
    /// have a memory cgroup.
    #[must_use]
    pub fn or_unit(self, unit: Option<Unit>) -> Self {
        let is_named = self.unit.is_some()
            || self.container.is_some()
            || self.pod.is_some()
            || self.machine_level.is_some()
            || self.undecided;
        Self {
            unit: if is_named { self.unit } else { unit },
            ..self
        }
    }

    /// The unit, if it is known from elsewhere.
    pub fn unit_from_elsewhere(&self) -> Option<&Unit> {
        self.unit.as_ref().filter(|_| self.unit_level.is_none())
    }

    /// Whether the process is in a cgroup below the container's own.
    pub fn is_below_container(&self) -> bool {
        self.container_level.is_some_and(|level| level > 0)
    }

    /// Where the memory cgroup at `domain_level`, whose limit was hit, sits for this process.
    ///
    /// | the process is | `container` | `pod` | `ancestor` |
    /// |---|---|---|---|
    /// | in a container of a pod | the container's cgroup and below | up to the pod's cgroup | above |
    /// | in a pod, in no container | | the pod's cgroup and below | above |
    /// | in any other container | the container's cgroup and below | | above |
    /// | in a unit | the unit's cgroup and below | | above |
    /// | in a unit without a memory cgroup | | | all |
    /// | in none of these | the process's own cgroup | | above |
    ///
    /// Where names are missing that decide it, it is `unknown`.
    ///
    /// So for a process outside Kubernetes `container` means the limit of its own container or
    /// service and `ancestor` one that it shares with others.
    pub fn place(&self, domain_level: usize) -> Limit {
        if self.undecided {
            return Limit::Unknown;
        }
        let own = match (self.container_level, self.pod_level) {
            (Some(level), _) => Some(level),
            (None, Some(_)) => None,
            (None, None) if self.unit_from_elsewhere().is_some() => None,
            (None, None) => Some(self.machine_level.or(self.unit_level).unwrap_or(0)),
        };
        if own.is_some_and(|level| domain_level <= level) {
            Limit::Container
        } else if self.pod_level.is_some_and(|level| domain_level <= level) {
            Limit::Pod
        } else {
            Limit::Ancestor
        }
    }
}

/// The fold over a path's names, from the leaf up: what was found last is outermost.
#[derive(Default)]
struct Scan<'a> {
    /// So many of the lowest levels may be a pod's.
    pod_levels: usize,
    /// Of the levels seen so far, as if there were no pod above.
    here: Identity,
    /// The last name was a container id and nothing else.
    bare_container: Option<Identity>,
    /// The last name was `pod<uid>`.
    bare_pod: bool,
    /// The name one level further down.
    below: Option<&'a [u8]>,
    /// What held when the outermost pod so far was reached.
    pod: Option<Identity>,
}

impl<'a> Scan<'a> {
    fn step(&mut self, level: usize, name: &'a [u8]) {
        self.name_of_parent(level, name);
        match Component::classify(name) {
            Component::Container { id, runtime, bare } => {
                let inner = self.enter_container(level, id, runtime);
                self.bare_container = bare.then_some(inner);
            }
            Component::PodAndContainer {
                uid,
                qos,
                id,
                runtime,
            } => {
                self.enter_container(level, id, runtime);
                if level < self.pod_levels {
                    self.pod = Some(Identity {
                        pod: Some(uid),
                        qos,
                        ..self.here.clone()
                    });
                }
            }
            Component::Pod { .. } if level >= self.pod_levels => {}
            Component::Pod { uid, qos, bare } => {
                self.bare_pod = bare;
                let pod_level = Some(level);
                self.pod = Some(Identity {
                    pod: Some(uid),
                    qos,
                    pod_level,
                    ..self.here.clone()
                });
            }
            // Whatever it holds is no container of the pod.
            Component::Conmon => self.here = Identity::default(),
            Component::Machine(runtime) => self.enter_machine(level, runtime),
            Component::Other => {}
        }
        if self.here.unit.is_none()
            && let Some(unit) = Unit::from_cgroup_name(name)
        {
            self.here.unit = Some(unit);
            self.here.unit_level = Some(level);
        }
        self.below = Some(name);
    }

    /// What a name says about its child.
    fn name_of_parent(&mut self, level: usize, name: &[u8]) {
        let bare_container = self.bare_container.take();
        if std::mem::take(&mut self.bare_pod)
            && let Some(pod) = &mut self.pod
        {
            pod.qos = qos_of_parent(name);
        }
        match (name, bare_container) {
            (b"docker", Some(_)) => self.here.runtime = Some(Runtime::Docker),
            // The id is that of a Podman pod.
            (b"libpod_parent", Some(inner)) => self.here = inner,
            _ => {}
        }
        if let (Some(below), Some(child_level)) = (self.below, level.checked_sub(1)) {
            if matches!(name, b"lxc" | b"lxc.payload") && !below.is_empty() {
                self.enter_machine(child_level, Runtime::Lxc);
            } else if is_machined_scope(name) && matches!(below, b"payload" | b"supervisor") {
                self.enter_machine(level, Runtime::Nspawn);
            }
        }
    }

    /// Returns what held inside.
    fn enter_container(
        &mut self,
        level: usize,
        id: ContainerId,
        runtime: Option<Runtime>,
    ) -> Identity {
        let container = Identity {
            container: Some(id),
            container_level: Some(level),
            runtime,
            ..Identity::default()
        };
        std::mem::replace(&mut self.here, container)
    }

    fn enter_machine(&mut self, level: usize, runtime: Runtime) {
        self.here.unit = None;
        self.here.unit_level = None;
        if self.here.container.is_none() {
            self.here.machine_level = Some(level);
            self.here.runtime = Some(runtime);
        }
    }

    fn finish(self) -> Identity {
        self.pod.unwrap_or(self.here)
    }
}

/// `machine-<name>.scope`, which systemd-machined makes for virtual machines too.
fn is_machined_scope(name: &[u8]) -> bool {
    name.starts_with(b"machine-") && name.ends_with(b".scope")
}
