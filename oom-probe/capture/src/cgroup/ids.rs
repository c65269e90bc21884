//! From the ids of cgroups to their names, where the kernel programs may not read strings.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::{
    hierarchy::MemoryRoot,
    walk::{Walk, children},
};

/// The id of a cgroup: the inode number of its directory (`kernfs_node.id` on 64-bit kernels).
///
/// # Errors
/// Where the directory is gone or cannot be looked at.
pub fn id_of(directory: &Path) -> io::Result<u64> {
    Ok(fs::symlink_metadata(directory)?.ino())
}

/// Names of the cgroups below a root, by id, as far as they have been seen.
///
/// Under lockdown=confidentiality a record has ids only. What was seen once is remembered, so that
/// a cgroup that is removed right after the kill still has its name. An id is not given twice
/// while the machine runs: it is an inode number and its generation (`fs/kernfs/dir.c`,
/// `__kernfs_new_node`).
#[derive(Debug)]
pub struct CgroupNames {
    root: MemoryRoot,
    root_id: u64,
    names: HashMap<u64, Box<[u8]>>,
    capacity: usize,
}

impl CgroupNames {
    /// Reads the cgroups below `root`, from the top, at most `capacity` of them.
    ///
    /// # Errors
    /// Where the root cannot be looked at.
    pub fn read(root: MemoryRoot, capacity: usize) -> io::Result<Self> {
        let root_id = id_of(&root.path)?;
        let mut read = Self {
            root,
            root_id,
            names: HashMap::new(),
            capacity,
        };
        read.look_around();
        Ok(read)
    }

    /// Reads the names that are there now, and keeps those of cgroups that are gone as long as
    /// there is room.
    pub fn look_around(&mut self) {
        if self.names.len() >= self.capacity {
            self.names.clear();
        }
        for cgroup in Walk::below(&self.root.path, self.capacity).flatten() {
            if self.names.len() >= self.capacity {
                return;
            }
            self.names.extend(id_and_name(&cgroup));
        }
    }

    /// The names of a path that is given by ids, leaf first, below this root and without it: one
    /// for each id, absent where the cgroup was gone before it was ever seen. Absent altogether
    /// where the path does not lead through this root.
    pub fn names(&mut self, leaf_first: &[u64]) -> Option<Vec<Option<&[u8]>>> {
        let below_root = leaf_first.iter().position(|&id| id == self.root_id)?;
        let ids = &leaf_first[..below_root];
        for (at, id) in ids.iter().enumerate().rev() {
            if self.names.contains_key(id) {
                continue;
            }
            let Some(parent) = self.directory(&ids[at + 1..]) else {
                break;
            };
            self.learn(*id, &parent, ids);
        }
        Some(ids.iter().map(|id| self.name(*id)).collect())
    }

    fn name(&self, id: u64) -> Option<&[u8]> {
        self.names.get(&id).map(|name| &**name)
    }

    fn directory(&self, leaf_first: &[u64]) -> Option<PathBuf> {
        let names: Option<Vec<_>> = leaf_first.iter().map(|&id| self.name(id)).collect();
        self.root.directory(names?.into_iter())
    }

    /// Looks for a cgroup among the children of a directory, and remembers what it sees there, the
    /// cgroup itself and the path that is `in_use` even if there is no room.
    fn learn(&mut self, wanted: u64, parent: &Path, in_use: &[u64]) {
        if self.names.len() >= self.capacity {
            self.names.retain(|id, _| in_use.contains(id));
        }
        let children = children(parent).into_iter().flatten();
        for (id, name) in children.filter_map(|child| id_and_name(&child)) {
            if id == wanted || self.names.len() < self.capacity {
                self.names.insert(id, name);
            }
        }
    }
}

/// None where it is gone.
fn id_and_name(cgroup: &Path) -> Option<(u64, Box<[u8]>)> {
    let name = cgroup.file_name()?.as_bytes().into();
    Some((id_of(cgroup).ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::Hierarchy;

    struct Tree {
        directory: tempfile::TempDir,
    }

    impl Tree {
        fn new(paths: &[&str]) -> Self {
            let tree = Self {
                directory: tempfile::tempdir().unwrap(),
            };
            for path in paths {
                tree.add(path);
            }
            tree
        }

        fn add(&self, path: &str) {
            fs::create_dir_all(self.directory.path().join(path)).unwrap();
        }

        fn remove(&self, path: &str) {
            fs::remove_dir_all(self.directory.path().join(path)).unwrap();
        }

        /// Ids from the leaf to the root, and one more above it.
        fn ids(&self, path: &str) -> Vec<u64> {
            let leaf = self.directory.path().join(path);
            let depth = Path::new(path).components().count();
            leaf.ancestors()
                .take(depth + 2)
                .map(|directory| id_of(directory).unwrap())
                .collect()
        }

        fn read(&self, capacity: usize) -> CgroupNames {
            let root = MemoryRoot {
                hierarchy: Hierarchy::V2,
                path: self.directory.path().into(),
            };
            CgroupNames::read(root, capacity).unwrap()
        }
    }

    /// `a/b` for the names of that path, `a/?` where the leaf's is not known.
    fn path(names: &mut CgroupNames, ids: &[u64]) -> Option<String> {
        let names = names.names(ids)?;
        let text =
            |name: &Option<&[u8]>| String::from_utf8_lossy(name.unwrap_or(b"?")).into_owned();
        Some(names.iter().rev().map(text).collect::<Vec<_>>().join("/"))
    }

    #[test]
    fn ids_become_names_for_old_and_new_cgroups() {
        let tree = Tree::new(&["kubepods/pod1/app", "system.slice"]);
        let mut names = tree.read(100);
        assert_eq!(
            path(&mut names, &tree.ids("kubepods/pod1/app")).unwrap(),
            "kubepods/pod1/app"
        );
        tree.add("kubepods/pod2/app/init.scope");
        let new = "kubepods/pod2/app/init.scope";
        assert_eq!(path(&mut names, &tree.ids(new)).unwrap(), new);
        assert_eq!(path(&mut names, &tree.ids("")).unwrap(), "");
    }

    #[test]
    fn a_removed_cgroup_keeps_the_name_that_was_seen() {
        let tree = Tree::new(&["kubepods/pod1/app"]);
        let mut names = tree.read(100);
        let seen = tree.ids("kubepods/pod1/app");
        tree.add("kubepods/pod1/app/job");
        let never_seen = tree.ids("kubepods/pod1/app/job");
        tree.remove("kubepods/pod1");
        assert_eq!(path(&mut names, &seen).unwrap(), "kubepods/pod1/app");
        assert_eq!(
            path(&mut names, &never_seen).unwrap(),
            "kubepods/pod1/app/?"
        );
    }

    #[test]
    fn a_look_around_learns_what_is_new_and_keeps_what_is_gone() {
        let tree = Tree::new(&["kubepods/pod1"]);
        let mut names = tree.read(100);
        tree.add("kubepods/pod2");
        let new = tree.ids("kubepods/pod2");
        names.look_around();
        tree.remove("kubepods/pod2");
        names.look_around();
        assert_eq!(path(&mut names, &new).unwrap(), "kubepods/pod2");
    }

    #[test]
    fn a_path_outside_of_the_root_has_no_names() {
        let tree = Tree::new(&["node1/app", "node2"]);
        let root = MemoryRoot {
            hierarchy: Hierarchy::V2,
            path: tree.directory.path().join("node2"),
        };
        let mut names = CgroupNames::read(root, 100).unwrap();
        assert_eq!(path(&mut names, &tree.ids("node1/app")), None);
        assert_eq!(path(&mut names, &tree.ids("node2")).unwrap(), "");
        assert_eq!(path(&mut names, &[]), None);
    }

    #[test]
    fn memory_stays_bounded_and_names_are_still_found() {
        let leaves: Vec<_> = (0..20).map(|n| format!("pods/pod{n}/app")).collect();
        let tree = Tree::new(&leaves.iter().map(String::as_str).collect::<Vec<_>>());
        let mut names = tree.read(5);
        for leaf in &leaves {
            assert_eq!(path(&mut names, &tree.ids(leaf)).unwrap(), *leaf);
            assert!(names.names.len() <= 5 + 3, "{}", names.names.len());
        }
    }
}
