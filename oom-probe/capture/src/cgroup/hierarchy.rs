//! Which cgroup hierarchy has the memory controller, and where it is mounted.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::mounts::{Mount, mounts};
use crate::model::labels::closed_set;

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
mod tests;
