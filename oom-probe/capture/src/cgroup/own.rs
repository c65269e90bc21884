//! The cgroup of this process, by the names that the node has for it.
//!
//! In a pod there is a cgroup namespace on most nodes: `/proc/self/cgroup` then shows `/`. What shows
//! is how far above it the node's root is mounted (`/../../..` in mountinfo,
//! `kernel/cgroup/cgroup.c`, `cgroup_show_path`), and, among the cgroups that far below that root,
//! the one that lists this process.

use std::{fs, os::unix::ffi::OsStrExt, path::Path};

use super::{hierarchy::MemoryRoot, mounts::Mount, walk::children};
use crate::model::cgroup_path::{CgroupPath, names};

/// Cgroups that are looked through: several times of what the largest nodes have.
const MAX_CGROUPS: usize = 50_000;

/// The cgroup of this process below that root; absent where it is not below it, or is it.
pub(super) fn cgroup(root: &MemoryRoot) -> Option<CgroupPath> {
    let mountinfo = fs::read("/proc/self/mountinfo").ok()?;
    let text = fs::read("/proc/self/cgroup").ok()?;
    let version = root.hierarchy.memory_version();
    let own = of_hierarchy(&text, version)?;
    let mount = Mount::over(&mountinfo, &root.path, version)?;
    let asked = root.path.strip_prefix(&mount.point).ok()?;
    match below(own, mount.root.as_os_str().as_encoded_bytes(), asked)? {
        Below::Named(path) => Some(path),
        Below::Deep(levels) => listed(&root.path, levels),
    }
}

/// Where it is below a root.
#[derive(Debug, PartialEq, Eq)]
enum Below {
    Named(CgroupPath),
    /// That many levels below it.
    Deep(usize),
}

/// `own` is what `/proc/self/cgroup` shows, `mounted` the root of the mount as mountinfo shows it, and
/// `asked` the directory in it that is the node's root.
fn below(own: &[u8], mounted: &[u8], asked: &Path) -> Option<Below> {
    let parts = |path: &'_ [u8]| -> Vec<Vec<u8>> {
        let parts = path.split(|&byte| byte == b'/');
        parts
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    };
    let (own, mounted) = (parts(own), parts(mounted));
    let asked = parts(asked.as_os_str().as_bytes());
    if own.iter().any(|name| name == b"..") {
        return None;
    }
    if mounted.iter().any(|name| name == b"..") {
        let levels = (mounted.len() + own.len()).checked_sub(asked.len())?;
        return (levels > 0).then_some(Below::Deep(levels));
    }
    let path = own.strip_prefix(&*mounted)?.strip_prefix(&*asked)?;
    let named = CgroupPath::from_levels(path.iter().rev().map(Vec::as_slice));
    (!path.is_empty()).then_some(Below::Named(named))
}

/// The path in that hierarchy from the text of `/proc/self/cgroup`.
fn of_hierarchy(text: &[u8], version: u8) -> Option<&[u8]> {
    let lines = text.split(|&byte| byte == b'\n');
    lines
        .filter_map(|line| {
            let mut parts = line.splitn(3, |&byte| byte == b':').skip(1);
            Some((parts.next()?, parts.next()?))
        })
        .find(|(controllers, _)| match version {
            2 => controllers.is_empty(),
            _ => controllers
                .split(|&byte| byte == b',')
                .any(|name| name == b"memory"),
        })
        .map(|(_, path)| path)
}

/// The cgroup that many levels below a root which lists this process.
fn listed(root: &Path, levels: usize) -> Option<CgroupPath> {
    let own = std::process::id().to_string();
    let mut level = vec![root.to_owned()];
    for _ in 0..levels {
        let below = level.iter().flat_map(|cgroup| children(cgroup));
        level = below.flatten().take(MAX_CGROUPS).collect();
    }
    let found = level.into_iter().find(|directory| {
        let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        processes.lines().any(|pid| pid == own)
    })?;
    let below = found.strip_prefix(root).ok()?.as_os_str().as_bytes();
    Some(CgroupPath::from_levels(names(below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> Option<Below> {
        Some(Below::Named(path.parse().unwrap()))
    }

    #[test]
    fn the_own_cgroup_is_named_or_so_many_levels_below_the_node() {
        for (what, own, mounted, asked, found) in [
            (
                "on the node",
                "/system.slice/oom-probe.service",
                "/",
                "",
                named("/system.slice/oom-probe.service"),
            ),
            (
                "in a pod, the node's namespace",
                "/kubepods/pod1/c1",
                "/",
                "",
                named("/kubepods/pod1/c1"),
            ),
            (
                "in a pod, its own namespace",
                "/",
                "/../../..",
                "",
                Some(Below::Deep(3)),
            ),
            (
                "the same, in a cgroup made inside",
                "/init",
                "/../../..",
                "",
                Some(Below::Deep(4)),
            ),
            (
                "in a node that is a container",
                "/docker/n1/kubelet/kubepods/c1",
                "/docker/n1",
                "",
                named("/kubelet/kubepods/c1"),
            ),
            (
                "the node's root is named",
                "/docker/n1/kubepods/c1",
                "/",
                "docker/n1",
                named("/kubepods/c1"),
            ),
            (
                "the same in its own namespace",
                "/",
                "/../../../..",
                "docker/n1",
                Some(Below::Deep(2)),
            ),
            (
                "on another node",
                "/docker/n2/kubepods/c1",
                "/",
                "docker/n1",
                None,
            ),
            ("outside of the namespace", "/../x", "/", "", None),
            ("only itself is visible", "/", "/", "", None),
        ] {
            let got = below(own.as_bytes(), mounted.as_bytes(), Path::new(asked));
            assert_eq!(got, found, "{what}");
        }
    }

    #[test]
    fn the_line_of_the_hierarchy_is_read() {
        let hybrid = b"9:name=systemd:/a:b\n4:cpu,memory:/c\n0::/d\n";
        assert_eq!(of_hierarchy(hybrid, 1), Some(&b"/c"[..]));
        assert_eq!(of_hierarchy(hybrid, 2), Some(&b"/d"[..]));
        assert_eq!(of_hierarchy(b"4:memory2:/c\n", 1), None);
    }
}
