//! Cgroups as kubelets and container runtimes name them.

/// The kubelet's `cgroupDriver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Systemd,
    Cgroupfs,
}

/// QoS class of a pod; a Guaranteed one is right below `kubepods`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// Who runs the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Containerd,
    Crio,
    CriDockerd,
}

impl Driver {
    /// A pod's cgroup; `uid` is what the kubelet calls it by, for a static pod the config's hash.
    pub(crate) fn pod(self, class: Class, uid: &str) -> String {
        let class = match class {
            Class::Guaranteed => None,
            Class::Burstable => Some("burstable"),
            Class::BestEffort => Some("besteffort"),
        };
        match (self, class) {
            (Self::Cgroupfs, None) => format!("kubepods/pod{uid}"),
            (Self::Cgroupfs, Some(class)) => format!("kubepods/{class}/pod{uid}"),
            (Self::Systemd, None) => format!("kubepods.slice/kubepods-pod{}.slice", escaped(uid)),
            (Self::Systemd, Some(class)) => format!(
                "kubepods.slice/kubepods-{class}.slice/kubepods-{class}-pod{}.slice",
                escaped(uid)
            ),
        }
    }

    /// A container's cgroup below its pod's.
    pub(crate) fn container(self, runtime: Runtime, id: &str) -> String {
        let prefix = match runtime {
            Runtime::Containerd => "cri-containerd",
            Runtime::Crio => "crio",
            Runtime::CriDockerd => "docker",
        };
        match self {
            Self::Cgroupfs => id.to_owned(),
            Self::Systemd => format!("{prefix}-{id}.scope"),
        }
    }
}

/// In a slice's name a dash leads to the next level.
fn escaped(uid: &str) -> String {
    uid.replace('-', "_")
}
