//! What one name in a cgroup path says by itself.

use crate::model::{
    container::{ContainerId, Runtime},
    pod::{PodUid, Qos},
};

/// One directory of a cgroup path, by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    /// A container's, or a pod sandbox's, own cgroup.
    Container {
        id: ContainerId,
        runtime: Option<Runtime>,
        bare: bool,
    },
    /// A pod's own cgroup. The systemd driver has the QoS class in the name, the cgroupfs driver
    /// in the name of the parent.
    Pod {
        uid: PodUid,
        qos: Option<Qos>,
        bare: bool,
    },
    /// `<pod slice>:<prefix>:<id>`: the name that the kubelet's systemd driver meant for systemd,
    /// taken as a directory by a runtime on the cgroupfs driver. The pod's slice is elsewhere. The same
    /// of Docker or nerdctl, with a slice of no pod, is a [`Component::Container`].
    PodAndContainer {
        uid: PodUid,
        qos: Option<Qos>,
        id: ContainerId,
        runtime: Option<Runtime>,
    },
    /// The process that watches over a container: not in the container.
    Conmon,
    /// A system container (`Lxc`, `Nspawn`), which has a name but no id.
    Machine(Runtime),
    /// Anything else.
    Other,
}

impl Component {
    pub(super) fn classify(name: &[u8]) -> Self {
        colon_form(name)
            .or_else(|| container(name))
            .or_else(|| pod(name))
            .or_else(|| machine(name))
            .unwrap_or(Self::Other)
    }
}

/// The last 64 bytes as an id, and what stands before them.
fn split_id(name: &[u8]) -> Option<(&[u8], ContainerId)> {
    let (prefix, hex) = name.split_at_checked(name.len().checked_sub(ContainerId::LEN)?)?;
    Some((prefix, ContainerId::from_hex(hex)?))
}

fn colon_form(name: &[u8]) -> Option<Component> {
    let (before, id) = split_id(name)?;
    let mut parts = before.strip_suffix(b":")?.rsplitn(2, |&b| b == b':');
    let runtime = runtime_of(parts.next()?);
    let slice = parts.next()?;
    Some(match pod(slice) {
        Some(Component::Pod { uid, qos, .. }) => Component::PodAndContainer {
            uid,
            qos,
            id,
            runtime,
        },
        _ => {
            slice.strip_suffix(b".slice")?;
            Component::Container {
                id,
                runtime,
                bare: false,
            }
        }
    })
}

fn container(name: &[u8]) -> Option<Component> {
    let stem = name.strip_suffix(b".scope");
    let (prefix, id) = split_id(stem.unwrap_or(name))?;
    let Some(prefix) = prefix
        .strip_suffix(b"-")
        .or_else(|| prefix.strip_suffix(b"_"))
    else {
        let bare = Component::Container {
            id,
            runtime: None,
            bare: true,
        };
        return prefix.is_empty().then_some(bare);
    };
    if prefix.ends_with(b"conmon") {
        return Some(Component::Conmon);
    }
    let runtime = runtime_of(prefix);
    // A scope with an id is a container's whatever its prefix; a directory may be anything.
    (runtime.is_some() || stem.is_some()).then_some(Component::Container {
        id,
        runtime,
        bare: false,
    })
}

fn runtime_of(prefix: &[u8]) -> Option<Runtime> {
    match prefix {
        b"cri-containerd" | b"containerd" | b"nerdctl" => Some(Runtime::Containerd),
        b"crio" => Some(Runtime::CriO),
        b"docker" => Some(Runtime::Docker),
        b"libpod" | b"libpod-payload" => Some(Runtime::Podman),
        b"kata" => Some(Runtime::Kata),
        _ => None,
    }
}

fn pod(name: &[u8]) -> Option<Component> {
    if let Some(uid) = name.strip_prefix(b"pod").and_then(PodUid::from_cgroup_name) {
        return Some(Component::Pod {
            uid,
            qos: None,
            bare: true,
        });
    }
    let stem = name.strip_suffix(b".slice")?;
    let (parent, uid) = [36, 32].into_iter().find_map(|len| {
        let (parent, uid) = stem.split_at_checked(stem.len().checked_sub(len)?)?;
        Some((
            parent.strip_suffix(b"-pod")?,
            PodUid::from_cgroup_name(uid)?,
        ))
    })?;
    Some(Component::Pod {
        uid,
        qos: qos_of_parent(parent),
        bare: false,
    })
}

/// The QoS class of the pods whose cgroup is a child of this one.
pub(super) fn qos_of_parent(parent: &[u8]) -> Option<Qos> {
    let last = parent.rsplit(|&b| b == b'-').next()?;
    match last {
        b"kubepods" => Some(Qos::Guaranteed),
        b"burstable" => Some(Qos::Burstable),
        b"besteffort" => Some(Qos::BestEffort),
        _ => None,
    }
}

fn machine(name: &[u8]) -> Option<Component> {
    if name.starts_with(b"lxc.payload.") {
        Some(Component::Machine(Runtime::Lxc))
    } else if name.starts_with(b"systemd-nspawn@") && name.ends_with(b".service") {
        Some(Component::Machine(Runtime::Nspawn))
    } else {
        None
    }
}
