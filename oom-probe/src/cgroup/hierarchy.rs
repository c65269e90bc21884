//! Which cgroup hierarchy has the memory controller, and where it is mounted.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::mounts::{Mount, mounts};
use crate::labels::closed_set;

closed_set! {
    /// How the node uses cgroups, as far as memory goes.
    Hierarchy {
        /// The memory controller is on cgroup v1, and there is no v2.
        V1 = "v1",
        /// The memory controller is on cgroup v2.
        V2 = "v2",
        /// The memory controller is on v1; v2 is mounted beside it.
        Hybrid = "hybrid",
    }
}

impl Hierarchy {
    /// Version of the hierarchy that has the memory controller: 1 or 2.
    pub const fn memory_version(self) -> u8 {
        match self {
            Self::V1 | Self::Hybrid => 1,
            Self::V2 => 2,
        }
    }
}

/// Where cgroups are mounted unless told otherwise.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Where the memory cgroups of the node are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRoot {
    /// What it is a directory of.
    pub hierarchy: Hierarchy,
    /// Directory of the cgroup that holds the node's: the mount of the memory controller, or the
    /// directory in it that was asked for.
    pub path: PathBuf,
}

/// Why there are no memory cgroups to look at.
#[derive(Debug, thiserror::Error)]
pub enum HierarchyError {
    /// The cgroup root could not be looked at.
    #[error("cannot open the cgroup root {}: {source}; pass --cgroup-root", path.display())]
    Root {
        /// What was asked for.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list of mounts could not be read.
    #[error("cannot read /proc/self/mountinfo: {0}; mount /proc")]
    Mountinfo(io::Error),
    /// Nothing at, below or above the root that was asked for is a cgroup.
    #[error(
        "no cgroup file system is mounted at, below or above {}; mount cgroup2 at /sys/fs/cgroup, \
         or pass --cgroup-root",
        .0.display()
    )]
    NoCgroups(PathBuf),
    /// There are cgroups, but no memory controller is mounted at all.
    #[error(
        "no cgroup hierarchy with the memory controller is mounted; mount cgroup2 at /sys/fs/cgroup"
    )]
    NotMounted,
    /// One is mounted, but neither at nor below nor above the root that was asked for.
    #[error(
        "{} is not in the hierarchy of the memory controller; pass --cgroup-root={}",
        asked.display(), mounted.display()
    )]
    Elsewhere {
        /// The root that was asked for.
        asked: PathBuf,
        /// A mount of the memory controller.
        mounted: PathBuf,
    },
    /// cgroup v2 is mounted, but the controller is not in it.
    #[error(
        "{} has no memory controller; boot without cgroup_disable=memory (and with \
         cgroup_enable=memory where the distribution turns it off)",
        .0.display()
    )]
    NoController(PathBuf),
}

impl HierarchyError {
    /// Whether another root may have what this one has not: the directory is missing, or holds no
    /// memory cgroups though the node has some.
    pub const fn is_wrong_root(&self) -> bool {
        match self {
            Self::Root { .. } | Self::NoCgroups(_) | Self::Elsewhere { .. } => true,
            Self::Mountinfo(_) | Self::NotMounted | Self::NoController(_) => false,
        }
    }
}

impl MemoryRoot {
    /// Looks for the memory cgroups at, below or above `cgroup_root`, usually `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// Where the directory or `/proc/self/mountinfo` cannot be read, or nothing is there.
    pub fn detect(cgroup_root: &Path) -> Result<Self, HierarchyError> {
        let asked = cgroup_root
            .canonicalize()
            .map_err(|source| HierarchyError::Root {
                path: cgroup_root.into(),
                source,
            })?;
        let mountinfo = std::fs::read("/proc/self/mountinfo").map_err(HierarchyError::Mountinfo)?;
        let root = Self::from_mountinfo(&mountinfo, &asked)?;
        if root.hierarchy == Hierarchy::V2 {
            let controllers = std::fs::read_to_string(root.path.join("cgroup.controllers"))
                .map_err(|source| HierarchyError::Root {
                    path: root.path.clone(),
                    source,
                })?;
            if !controllers
                .split_ascii_whitespace()
                .any(|name| name == "memory")
            {
                return Err(HierarchyError::NoController(root.path));
            }
        }
        Ok(root)
    }

    /// The same from the text of `mountinfo` (`Documentation/filesystems/proc.rst`, 3.5).
    ///
    /// # Errors
    /// [`HierarchyError::NoCgroups`], [`HierarchyError::NotMounted`] and
    /// [`HierarchyError::Elsewhere`].
    pub fn from_mountinfo(mountinfo: &[u8], asked: &Path) -> Result<Self, HierarchyError> {
        let mounts: Vec<_> = mounts(mountinfo).collect();
        let on_v1 = mounts.iter().any(Mount::has_memory);
        let v2 = mounts.iter().any(Mount::is_v2);
        let (hierarchy, is): (_, fn(&Mount) -> bool) = match (on_v1, v2) {
            (true, false) => (Hierarchy::V1, Mount::has_memory),
            (true, true) => (Hierarchy::Hybrid, Mount::has_memory),
            (false, _) => (Hierarchy::V2, Mount::is_v2),
        };
        let memory = || {
            mounts
                .iter()
                .filter(|mount| is(mount))
                .map(|mount| &mount.point)
        };
        let path = if memory().any(|point| asked.starts_with(point)) {
            asked.to_owned()
        } else if let Some(below) = memory()
            .filter(|point| point.starts_with(asked))
            .min_by_key(|point| point.components().count())
        {
            below.clone()
        } else {
            let is_near =
                |mount: &Mount| mount.point.starts_with(asked) || asked.starts_with(&mount.point);
            return Err(match memory().next() {
                Some(mounted) => HierarchyError::Elsewhere {
                    asked: asked.into(),
                    mounted: mounted.clone(),
                },
                None if mounts.iter().any(is_near) => HierarchyError::NotMounted,
                None => HierarchyError::NoCgroups(asked.into()),
            });
        };
        Ok(Self { hierarchy, path })
    }

    /// The directory of the cgroup with these names, leaf first, below this root. Absent if one of
    /// them cannot be the name of a cgroup: a path must not lead elsewhere.
    pub fn directory<'a>(&self, leaf_first: impl Iterator<Item = &'a [u8]>) -> Option<PathBuf> {
        let names: Vec<_> = leaf_first.collect();
        let mut path = self.path.clone();
        for &name in names.iter().rev() {
            if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
                return None;
            }
            path.push(OsStr::from_bytes(name));
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 6.18 kernel with every controller on v1 and cgroup2 beside them.
    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    /// The same without the line of cgroup2, and two controllers on one mount.
    const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/cpu,memory rw,relatime shared:15 master:2 - cgroup cgroup rw,cpu,memory
";
    /// Debian 12 with systemd.
    const V2: &str = "\
22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 22 0:25 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";
    /// A pod with the node's cgroups at /host/cgroup, whose own are at the usual place.
    const POD: &str = "\
900 880 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
910 880 0:25 /../../.. /host/cgroup ro,relatime master:9 - cgroup2 cgroup2 rw,nsdelegate
";
    /// A v1 node's cgroups in a pod, mounted recursively at a path with a space.
    const V1_POD: &str = "\
910 880 0:28 / /host\\040node/cgroup ro,relatime - tmpfs tmpfs rw,mode=755
911 910 0:32 / /host\\040node/cgroup/memory ro,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn the_memory_controller_is_found_wherever_it_is_mounted() {
        use Hierarchy::{Hybrid, V1 as OnV1, V2 as OnV2};
        for (name, mountinfo, asked, hierarchy, path) in [
            (
                "hybrid",
                HYBRID,
                "/sys/fs/cgroup",
                Hybrid,
                "/sys/fs/cgroup/memory",
            ),
            (
                "v1",
                V1,
                "/sys/fs/cgroup",
                OnV1,
                "/sys/fs/cgroup/cpu,memory",
            ),
            ("v2", V2, "/sys/fs/cgroup", OnV2, "/sys/fs/cgroup"),
            ("the whole machine", V2, "/", OnV2, "/sys/fs/cgroup"),
            (
                "a node on v2",
                V2,
                "/sys/fs/cgroup/docker/node1",
                OnV2,
                "/sys/fs/cgroup/docker/node1",
            ),
            (
                "a node on v1",
                HYBRID,
                "/sys/fs/cgroup/memory/n",
                Hybrid,
                "/sys/fs/cgroup/memory/n",
            ),
            ("in a pod", POD, "/host/cgroup", OnV2, "/host/cgroup"),
            (
                "in a pod on v1",
                V1_POD,
                "/host node/cgroup",
                OnV1,
                "/host node/cgroup/memory",
            ),
        ] {
            let found = MemoryRoot::from_mountinfo(mountinfo.as_bytes(), Path::new(asked));
            assert_eq!(
                found.unwrap(),
                MemoryRoot {
                    hierarchy,
                    path: path.into()
                },
                "{name}"
            );
        }
    }

    #[test]
    fn where_it_is_not_the_error_names_where_it_is() {
        let error = |mountinfo: &str, asked| {
            MemoryRoot::from_mountinfo(mountinfo.as_bytes(), Path::new(asked))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(HYBRID, "/sys/fs/cgroup/unified"),
            "/sys/fs/cgroup/unified is not in the hierarchy of the memory controller; \
             pass --cgroup-root=/sys/fs/cgroup/memory"
        );
        for mountinfo in [
            "",
            "\n - \n",
            "1 2 3\n",
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs x rw\n",
        ] {
            assert!(error(mountinfo, "/sys/fs/cgroup").starts_with("no cgroup file system"));
        }
        let cpu = "35 31 0:32 / /c rw,memory - cgroup cgroup rw,name=memory2\n";
        assert!(error(cpu, "/c").starts_with("no cgroup hierarchy"));
    }

    #[test]
    fn a_root_is_wrong_where_another_may_be_right() {
        let v1_without_memory = "35 31 0:32 / /c rw - cgroup cgroup rw,cpu\n";
        for (mountinfo, asked, is_wrong) in [
            (HYBRID, "/etc", true),
            (HYBRID, "/sys/fs/cgroup/unified", true),
            (V2, "/nonexistent", true),
            ("", "/sys/fs/cgroup", true),
            (v1_without_memory, "/etc", true),
            // The node has no memory cgroups, wherever one looks.
            (v1_without_memory, "/c", false),
        ] {
            let found = MemoryRoot::from_mountinfo(mountinfo.as_bytes(), Path::new(asked));
            assert_eq!(found.unwrap_err().is_wrong_root(), is_wrong, "{asked}");
        }
    }

    #[test]
    fn the_mounts_of_this_machine_can_be_read() {
        let mountinfo = std::fs::read("/proc/self/mountinfo").unwrap();
        match MemoryRoot::from_mountinfo(&mountinfo, Path::new("/")) {
            Ok(root) => assert!(root.path.is_dir()),
            Err(error) => assert!(
                matches!(
                    error,
                    HierarchyError::NotMounted | HierarchyError::NoCgroups(_)
                ),
                "{error}"
            ),
        }
    }

    #[test]
    fn names_lead_to_a_directory_below_the_root_and_nowhere_else() {
        let root = MemoryRoot {
            hierarchy: Hierarchy::V2,
            path: "/sys/fs/cgroup".into(),
        };
        let directory = |names: &[&[u8]]| root.directory(names.iter().copied());
        assert_eq!(directory(&[]), Some("/sys/fs/cgroup".into()));
        assert_eq!(
            directory(&[b"b", b"a.slice"]),
            Some("/sys/fs/cgroup/a.slice/b".into())
        );
        for name in [&b""[..], b".", b"..", b"/", b"../etc", b"a\0"] {
            assert_eq!(directory(&[b"b", name]), None);
        }
    }
}
