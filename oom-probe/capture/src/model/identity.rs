//! What the path of a cgroup says about container, pod or systemd unit.

use super::{
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
