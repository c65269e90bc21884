//! What of a kernel's cgroups is this node's.

use super::{kubepods::Kubepods, path};
use crate::model::{cgroup_path::CgroupPath, identity::Identity};

/// What of a kernel's cgroups is this node's, and where in it pods are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCgroups {
    /// Id of the node's own cgroup root, where that is not the root of the hierarchy: on a node that
    /// is itself a container.
    pub root: Option<u64>,
    /// Where pods are.
    pub kubepods: Kubepods,
}

impl NodeCgroups {
    /// How many levels above a cgroup the node's own root is. `leaf_first` are the ids from the
    /// cgroup's up.
    pub fn root_level(&self, leaf_first: &[u64]) -> Option<usize> {
        let root = self.root?;
        leaf_first.iter().position(|id| *id == root)
    }

    /// What a path says below the node's own root: a node that is a container has that container's id
    /// above all of its pods, and a node in a pod the other cluster's pod.
    pub fn identify(&self, path: &CgroupPath, root_level: Option<usize>) -> Identity {
        match root_level {
            Some(level) => {
                let below = path.names().take(level);
                self.kubepods.identify(below.chain([&b""[..]]))
            }
            // Elsewhere on this kernel: what it is to its own node.
            None if self.root.is_some() => path::parse(path.names()),
            None => self.kubepods.identify(path.names()),
        }
    }
}
