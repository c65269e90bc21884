//! Whether the containers that run here die whole or process by process.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use capture::cgroup::{files::oom_group, hierarchy::MemoryRoot, kubepods::Kubepods};

/// Directories looked at: some ten times what a full node has.
const MAX_DIRECTORIES: usize = 20_000;

/// The name of the process that holds a pod's namespaces: nothing to be told about its limits. To
/// be seen only where the node's processes are (`hostPID`): elsewhere it counts as a container.
const PAUSE: &str = "pause";

/// The containers of pods that run here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Containers {
    /// Those with `memory.oom.group` set: the kubelet does so since Kubernetes 1.28.
    pub grouped: usize,
    /// Those without it; with the pods' sandboxes, where the node's processes are not to be seen.
    pub single: usize,
}

impl Containers {
    /// Looks through the cgroups of a node.
    #[must_use]
    pub fn survey(root: &MemoryRoot, proc_root: &Path, kubepods: &Kubepods) -> Self {
        let mut found = Self::default();
        let mut waiting = vec![PathBuf::new()];
        for _ in 0..MAX_DIRECTORIES {
            let Some(relative) = waiting.pop() else { break };
            let path = root.path.join(&relative);
            let identity = kubepods.identify_below_root(&relative);
            if identity.pod.is_some() && identity.container_level == Some(0) {
                if is_pause(&path, proc_root) {
                    continue;
                }
                match oom_group(root.hierarchy, &path) {
                    Ok(true) => found.grouped += 1,
                    Ok(false) => found.single += 1,
                    // Gone since, or not to be read: neither.
                    Err(_) => {}
                }
                continue;
            }
            waiting.extend(children(&path).map(|name| relative.join(name)));
        }
        found
    }
}

/// The names of the directories in a directory; none where it can't be read.
fn children(path: &Path) -> impl Iterator<Item = OsString> + use<> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name())
}

fn is_pause(cgroup: &Path, proc_root: &Path) -> bool {
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let Some(first) = processes.lines().next() else {
        return false;
    };
    let comm = fs::read_to_string(proc_root.join(first).join("comm"));
    comm.is_ok_and(|comm| comm.trim_end() == PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use capture::cgroup::hierarchy::Hierarchy;

    const POD: &str = "kubepods.slice/kubepods-pod3f6fb1cc_4ad9_4d0a_8a5b_0a3b1c2d3e4f.slice";

    fn put(root: &Path, container: &str, group: &str, pid: &str) {
        let path = root
            .join(POD)
            .join(format!("cri-containerd-{}.scope", container.repeat(64)));
        fs::create_dir_all(path.join("nested")).unwrap();
        fs::write(path.join("memory.oom.group"), group).unwrap();
        fs::write(path.join("nested/memory.oom.group"), "0\n").unwrap();
        fs::write(path.join("cgroup.procs"), pid).unwrap();
    }

    #[test]
    fn containers_are_counted_and_pause_is_not() {
        let root = tempfile::tempdir().unwrap();
        let proc_root = tempfile::tempdir().unwrap();
        for (pid, comm) in [("10", "app\n"), ("11", "pause\n")] {
            fs::create_dir(proc_root.path().join(pid)).unwrap();
            fs::write(proc_root.path().join(pid).join("comm"), comm).unwrap();
        }
        put(root.path(), "a", "1\n", "10\n");
        put(root.path(), "b", "0\n", "10\n");
        put(root.path(), "c", "1\n", "");
        put(root.path(), "d", "0\n", "11\n");
        fs::create_dir_all(root.path().join("system.slice/nginx.service")).unwrap();
        for (hierarchy, grouped, single) in [(Hierarchy::V2, 2, 1), (Hierarchy::V1, 0, 3)] {
            let memory = MemoryRoot {
                hierarchy,
                path: root.path().into(),
            };
            let found = Containers::survey(&memory, proc_root.path(), &Kubepods::default());
            assert_eq!(found, Containers { grouped, single }, "{hierarchy}");
        }
    }

    #[test]
    fn a_node_without_cgroups_has_no_containers() {
        let memory = MemoryRoot {
            hierarchy: Hierarchy::V2,
            path: "/nonexistent".into(),
        };
        assert_eq!(
            Containers::survey(&memory, Path::new("/proc"), &Kubepods::default()),
            Containers::default()
        );
    }
}
