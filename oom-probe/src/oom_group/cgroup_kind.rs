//! Where a cgroup directory sits: which pods and containers are, which lead to pods, which are inside
//! of a container.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{
    cgroup::kubepods::Kubepods,
    model::{container::ContainerId, pod::PodUid},
};

/// Cgroups of one node that are looked at: several times of what the largest nodes have.
pub(super) const MAX_CGROUPS: usize = 50_000;
/// Levels that are looked at. The kubelet's own hierarchy has five, a nested node's twice that.
const MAX_DEPTH: usize = 24;

/// What a cgroup directory is to a node's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CgroupKind {
    /// A pod's own.
    Pod(PodUid),
    /// A container's own, or a pod sandbox's.
    Container(PodUid, ContainerId),
    /// Below a container's own.
    Inside(PodUid, ContainerId),
    /// The kubelet's `kubepods`, or the class of service below it: pods appear here.
    Kubepods,
    /// Anything else.
    Other,
}

impl CgroupKind {
    /// What the directory at that path below the node's cgroup root is.
    pub(super) fn of(below_root: &Path, kubepods: &Kubepods) -> Self {
        let identity = kubepods.identify_below_root(below_root);
        match (identity.pod, identity.container) {
            (Some(pod), Some(id)) if identity.container_level == Some(0) => {
                Self::Container(pod, id)
            }
            (Some(pod), Some(id)) => Self::Inside(pod, id),
            (Some(pod), None) if identity.pod_level == Some(0) => Self::Pod(pod),
            (None, _) if below_root.file_name().is_some_and(is_kubepods) => Self::Kubepods,
            _ => Self::Other,
        }
    }
}

/// `kubepods`, `kubepods.slice`, `kubepods-burstable.slice`, `kubelet-kubepods.slice`; and the
/// classes of service of the cgroupfs driver (`pkg/kubelet/cm/qos_container_manager_linux.go`).
fn is_kubepods(name: &std::ffi::OsStr) -> bool {
    let name = name.as_bytes();
    let stem = name.strip_suffix(b".slice").unwrap_or(name);
    matches!(name, b"burstable" | b"besteffort")
        || stem.split(|&b| b == b'-').any(|part| part == b"kubepods")
}

/// A directory that a [`walk`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) place: CgroupKind,
}

/// The directories below `from` that have to do with pods, parents before children, without those
/// inside of containers. `root` is the node's cgroup root.
pub(super) fn walk(root: &Path, from: &Path, kubepods: &Kubepods) -> Vec<Found> {
    let (mut found, mut seen) = (Vec::new(), 0);
    let mut level = vec![from.to_owned()];
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for path in level.iter().flat_map(|parent| children(parent)) {
            seen += 1;
            if seen > MAX_CGROUPS {
                return found;
            }
            let below_root = path.strip_prefix(root);
            let place = below_root.map_or(CgroupKind::Other, |path| CgroupKind::of(path, kubepods));
            if !matches!(place, CgroupKind::Container(..) | CgroupKind::Inside(..)) {
                next.push(path.clone());
            }
            if place != CgroupKind::Other {
                found.push(Found { path, place });
            }
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    found
}

/// The directories in a directory; none where it is gone.
pub(super) fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(io::Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::fixture::{container_id, uid};

    #[test]
    fn each_directory_of_each_driver_has_its_place() {
        let (uid, id) = (uid(1), container_id(1));
        let slice = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
        let (pod, container): (PodUid, ContainerId) = (uid.parse().unwrap(), id.parse().unwrap());
        for (path, place) in [
            ("system.slice/sshd.service".to_owned(), CgroupKind::Other),
            ("kubepods.slice".to_owned(), CgroupKind::Kubepods),
            (
                "kubepods.slice/kubepods-burstable.slice".to_owned(),
                CgroupKind::Kubepods,
            ),
            ("kubepods/burstable".to_owned(), CgroupKind::Kubepods),
            (
                "kubelet.slice/kubelet-kubepods.slice".to_owned(),
                CgroupKind::Kubepods,
            ),
            (format!("kubepods/burstable/pod{uid}"), CgroupKind::Pod(pod)),
            (format!("kubepods.slice/{slice}"), CgroupKind::Pod(pod)),
            (
                format!("kubepods/burstable/pod{uid}/{id}"),
                CgroupKind::Container(pod, container),
            ),
            (
                format!("kubepods.slice/{slice}/cri-containerd-{id}.scope"),
                CgroupKind::Container(pod, container),
            ),
            (
                format!("system.slice/containerd.service/{slice}:cri-containerd:{id}"),
                CgroupKind::Container(pod, container),
            ),
            (
                format!("kubepods.slice/{slice}/crio-{id}.scope/container"),
                CgroupKind::Inside(pod, container),
            ),
            (
                format!("kubepods.slice/{slice}/cri-containerd-{id}.scope/a.slice/b.service"),
                CgroupKind::Inside(pod, container),
            ),
            (
                format!("kubepods.slice/{slice}/crio-conmon-{id}.scope"),
                CgroupKind::Other,
            ),
            (format!("system.slice/docker-{id}.scope"), CgroupKind::Other),
        ] {
            let kubepods = Kubepods::anywhere();
            assert_eq!(CgroupKind::of(Path::new(&path), &kubepods), place, "{path}");
        }
    }

    #[test]
    fn a_walk_finds_containers_and_does_not_go_into_them() {
        let root = tempfile::tempdir().unwrap();
        let container = format!("kubepods/pod{}/{}", uid(1), container_id(1));
        fs::create_dir_all(root.path().join(&container).join("inside/further")).unwrap();
        fs::create_dir_all(root.path().join("system.slice/sshd.service")).unwrap();
        let mut found: Vec<_> = walk(root.path(), root.path(), &Kubepods::default())
            .into_iter()
            .map(|found| found.path.strip_prefix(root.path()).unwrap().to_owned())
            .collect();
        found.sort();
        let pod = format!("kubepods/pod{}", uid(1));
        let expected = ["kubepods", &pod, &container];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
