//! Where this node's pods are among its cgroups.
//!
//! Anybody who may make cgroups may name one like a pod's: below `user@1000.service`, in an LXC guest,
//! in a container. Only what the kubelet makes is a pod, and that is all below one cgroup.

use std::{
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    hierarchy::MemoryRoot,
    own,
    path::{self, Matched},
};
use crate::model::{
    cgroup_path::{CgroupPath, names},
    identity::Identity,
};

/// Where pods are, as paths from the node's own root of cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubepods {
    roots: Roots,
    /// Whose children are containers of pods though no cgroup of a pod is above them: of a kubelet with
    /// `--cgroups-per-qos=false`.
    bare: Option<CgroupPath>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Roots {
    /// What is called `kubepods…`, directly below the node's root.
    #[default]
    Usual,
    /// Below any of these.
    Below(Vec<CgroupPath>),
}

impl Kubepods {
    /// Anywhere: for telling what a path would say if it were a pod's.
    pub fn anywhere() -> Self {
        Self::below(vec![CgroupPath::default()])
    }

    /// Below these.
    pub fn below(roots: Vec<CgroupPath>) -> Self {
        Self {
            roots: Roots::Below(roots),
            bare: None,
        }
    }

    /// Below those that were named, if any; else where the pod of this process is, if it is in one;
    /// else where they usually are.
    pub fn of_node(named: &[PathBuf], root: &MemoryRoot) -> Self {
        if !named.is_empty() {
            let below_root = |path: &PathBuf| {
                let path = path.strip_prefix(&root.path).unwrap_or(path);
                from_path(path)
            };
            return Self::below(named.iter().map(below_root).collect());
        }
        own::cgroup(root).map_or_else(Self::default, |own| Self::of_own(&own))
    }

    /// Where the pod is that has this cgroup: the innermost, since a process is in no pod of a cluster
    /// further in.
    pub fn of_own(own: &CgroupPath) -> Self {
        let names: Vec<_> = own.names().filter(|name| !name.is_empty()).collect();
        let pod = (0..names.len()).find_map(|level| {
            let identity = path::parse(names[level..=level].iter().copied());
            identity.pod.map(|_| level)
        });
        let path = |above: &[&[u8]]| CgroupPath::from_levels(above.iter().copied());
        if let Some(pod) = pod {
            let above = &names[pod + 1..];
            let classes = above.iter().take_while(|name| is_class(name)).count();
            let above = &above[classes..];
            // Right below the node's root: by their names.
            return if above.is_empty() {
                Self::default()
            } else {
                Self::below(vec![path(above)])
            };
        }
        let container = path::parse(names.iter().copied()).container_level;
        Self {
            bare: container.map(|level| path(&names[level + 1..])),
            ..Self::default()
        }
    }

    /// Reads the names of a path from the leaf up to the node's root, whose own is empty. See
    /// [`path::parse`]; what is named like a pod but is elsewhere is no pod.
    pub fn identify<'a>(&self, leaf_first: impl Iterator<Item = &'a [u8]>) -> Identity {
        let names: Vec<_> = leaf_first.collect();
        let mut identity =
            path::parse_where(&names, |top_first, levels| self.matched(top_first, levels));
        if let (Some(level), Some(bare)) = (identity.container_level, &self.bare) {
            let above = names[level + 1..].iter().copied();
            identity.in_pods |= CgroupPath::from_levels(above) == *bare;
        }
        identity
    }

    /// The same of a directory, by its path from the node's root.
    pub fn identify_below_root(&self, path: &Path) -> Identity {
        self.identify(from_path(path).names())
    }

    /// `top_first` are the names from the node's root down, as far as they are known.
    fn matched(&self, top_first: &[&[u8]], levels: usize) -> Matched {
        let none = Matched {
            levels: 0,
            open: false,
        };
        match &self.roots {
            Roots::Usual => match top_first.first() {
                Some(top) if top.starts_with(b"kubepods") => Matched { levels, open: true },
                Some(_) => none,
                None => Matched {
                    levels: 0,
                    open: true,
                },
            },
            Roots::Below(roots) => {
                let of = |root: &CgroupPath| {
                    let mut names: Vec<_> = root.names().collect();
                    names.pop();
                    let known = names.len().min(top_first.len());
                    let same = names.iter().rev().zip(top_first).all(|(a, b)| a == b);
                    let levels = (known == names.len()).then(|| levels.saturating_sub(known));
                    same.then_some(levels)
                };
                roots
                    .iter()
                    .filter_map(of)
                    .fold(none, |found, levels| Matched {
                        levels: found.levels.max(levels.unwrap_or(0)),
                        open: true,
                    })
            }
        }
    }
}

impl fmt::Display for Kubepods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.roots {
            Roots::Usual => f.write_str("/kubepods*")?,
            Roots::Below(roots) => {
                for (nth, root) in roots.iter().enumerate() {
                    let comma = if nth > 0 { ", " } else { "" };
                    write!(f, "{comma}{root}")?;
                }
            }
        }
        match &self.bare {
            Some(bare) => write!(f, ", containers in {bare}"),
            None => Ok(()),
        }
    }
}

/// Whether a cgroup is that of a class of service: pods of one class are below the others' root
/// (`pkg/kubelet/cm/qos_container_manager_linux.go`).
fn is_class(name: &[u8]) -> bool {
    let stem = name.strip_suffix(b".slice").unwrap_or(name);
    let last = stem.rsplit(|&byte| byte == b'-').next();
    matches!(last, Some(b"burstable" | b"besteffort"))
}

fn from_path(path: &Path) -> CgroupPath {
    CgroupPath::from_levels(names(path.as_os_str().as_bytes()).filter(|name| !name.is_empty()))
}
