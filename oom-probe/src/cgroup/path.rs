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

use super::component::{Component, qos_of_parent};
use crate::model::{
    container::{ContainerId, Runtime},
    identity::Identity,
    unit::Unit,
};

/// What a path has to do with the places of pods.
pub(super) struct Matched {
    /// How many of its lowest levels may be a pod's.
    pub(super) levels: usize,
    /// Names are missing that decide it.
    pub(super) open: bool,
}

/// Reads the names of a path from the leaf to the root. An empty name (the root's own) is a
/// level that says nothing. Any bytes are taken; what is not recognised is absent.
///
/// An empty name below others stands for names that are not known, and then only those above it
/// tell: what is below may be in a container that is not seen.
///
/// What is named like a pod is taken for one, wherever it is; [`Kubepods::identify`] is stricter.
///
/// [`Kubepods::identify`]: super::kubepods::Kubepods::identify
pub fn parse<'a>(leaf_first: impl Iterator<Item = &'a [u8]>) -> Identity {
    let names: Vec<_> = leaf_first.collect();
    parse_where(&names, |_, levels| Matched { levels, open: true })
}

/// Reads the bytes of a path, not what is printed of them.
pub fn from_path(path: &[u8]) -> Identity {
    parse(path.rsplit(|&b| b == b'/').filter(|name| !name.is_empty()))
}

/// The same where only some places have pods: `matched` is given the known names from the top down,
/// and how many levels there are.
pub(super) fn parse_where(
    names: &[&[u8]],
    matched: impl FnOnce(&[&[u8]], usize) -> Matched,
) -> Identity {
    let has_root = names.last().is_some_and(|name| name.is_empty());
    let names = &names[..names.len() - usize::from(has_root)];
    let unknown = names.iter().rposition(|name| name.is_empty());
    let first_known = unknown.map_or(0, |unknown| unknown + 1);
    let top_first: Vec<_> = names[first_known..].iter().rev().copied().collect();
    let Matched { levels, open } = matched(&top_first, names.len());
    let mut scan = Scan {
        pod_levels: levels,
        ..Scan::default()
    };
    for (level, name) in names.iter().enumerate().skip(first_known) {
        scan.step(level, name);
    }
    let identity = scan.finish();
    Identity {
        in_pods: levels > 0,
        undecided: unknown.is_some() && open && identity.container.is_none(),
        ..identity
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
