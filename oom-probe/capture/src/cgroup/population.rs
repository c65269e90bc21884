//! Whether anything runs in a cgroup, as a daemon sees it that has a PID namespace of its own.
//!
//! On v2 the cgroup says so itself. On v1 its `cgroup.procs` leaves out the processes of which the
//! reader's PID namespace knows nothing (`kernel/cgroup/cgroup-v1.c`, `pidlist_array_load`): as the
//! daemon is deployed, all of them. What does not depend on the reader is then asked: the same cgroup
//! in the hierarchy of the pids controller, and in that of v2 where it is mounted beside v1.

use std::{
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    files::{FileError, failed, parse_flag, read, value},
    hierarchy::{Hierarchy, MemoryRoot},
    mounts::{Mount, mounts},
    walk::Walk,
};

/// Whether anything runs in a cgroup or below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Population {
    /// At least one process.
    Populated,
    /// No process.
    Empty,
    /// There is no such cgroup any more.
    Gone,
}

/// Where it can be seen whether anything runs in a cgroup of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Populations {
    memory: MemoryRoot,
    /// The directory of the pids controller that corresponds to the memory root; v1 only.
    pids: Option<PathBuf>,
    /// The same of v2 beside v1.
    unified: Option<PathBuf>,
    /// Whether `cgroup.procs` lists every process.
    sees_every_process: bool,
}

/// Cgroups below one container that are looked through for a process.
const MAX_CGROUPS: usize = 4096;

/// Inode number of the initial PID namespace (`include/uapi/linux/nsfs.h`, `PID_NS_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

impl Populations {
    /// Looks for what tells of the cgroups below `memory`, by what this process sees.
    #[must_use]
    pub fn detect(memory: MemoryRoot) -> Self {
        let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let namespace = fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino());
        let sees_every_process = namespace.is_ok_and(|inode| inode == INITIAL_PID_NAMESPACE);
        let found = Self::new(memory, &mountinfo, sees_every_process);
        if found.is_blind() {
            tracing::warn!(
                "whether a container lives on is told by its pod's status alone: on cgroup v1 that \
                 takes the hierarchy of the pids controller below the cgroup root, or hostPID"
            );
        }
        found
    }

    /// Whether nothing tells what runs in a cgroup.
    fn is_blind(&self) -> bool {
        let on_v1 = self.memory.hierarchy.memory_version() == 1;
        on_v1 && !self.sees_every_process && self.pids.is_none() && self.unified.is_none()
    }

    /// The same from the text of `mountinfo`.
    fn new(memory: MemoryRoot, mountinfo: &[u8], sees_every_process: bool) -> Self {
        let mounts: Vec<_> = mounts(mountinfo).collect();
        let sibling = |is: fn(&Mount) -> bool| {
            (memory.hierarchy.memory_version() == 1)
                .then(|| sibling(&memory.path, &mounts, is))
                .flatten()
        };
        Self {
            pids: sibling(Mount::has_pids),
            unified: sibling(Mount::is_v2),
            memory,
            sees_every_process,
        }
    }

    /// Whether anything runs in the cgroup with these names, leaf first, below the root; absent where
    /// it cannot be told.
    pub fn of<'a>(&self, leaf_first: impl Iterator<Item = &'a [u8]>) -> Option<Population> {
        let directory = self.memory.directory(leaf_first)?;
        self.at(&directory)
            .inspect_err(|error| tracing::debug!("{}: {error}", directory.display()))
            .ok()
            .flatten()
    }

    /// The same of a directory below the root.
    ///
    /// # Errors
    /// Any [`FileError`] but `Gone`, which is an answer here.
    pub fn at(&self, directory: &Path) -> Result<Option<Population>, FileError> {
        let below = directory
            .strip_prefix(&self.memory.path)
            .unwrap_or(directory);
        let populated = match (self.memory.hierarchy, self.sees_every_process) {
            (Hierarchy::V2, _) => populated_by_events(directory).map(Some),
            (_, true) => populated_by_walking(directory).map(Some),
            (_, false) => self.populated_by_any(directory, below),
        };
        match populated {
            Ok(Some(true)) => Ok(Some(Population::Populated)),
            Ok(Some(false)) => Ok(Some(Population::Empty)),
            Ok(None) => Ok(None),
            Err(FileError::Gone(_)) => Ok(self.shows(below).then_some(Population::Gone)),
            Err(error) => Err(error),
        }
    }

    /// Any sign of life counts: a container need not be in every hierarchy.
    fn populated_by_any(&self, directory: &Path, below: &Path) -> Result<Option<bool>, FileError> {
        let told = self.populated_by_siblings(below)?;
        if told == Some(true) {
            return Ok(told);
        }
        match populated_by_walking(directory) {
            Ok(true) => Ok(Some(true)),
            Err(error @ FileError::Gone(_)) => Err(error),
            Err(error) if told.is_none() => Err(error),
            // That this process sees none says nothing.
            Ok(false) | Err(_) => Ok(told),
        }
    }

    /// By what does not depend on the reader's PID namespace; absent where nothing of that is there.
    fn populated_by_siblings(&self, below: &Path) -> Result<Option<bool>, FileError> {
        let pids = self.pids.as_ref().map(|root| has_task(&root.join(below)));
        let unified = self.unified.as_ref();
        let unified = unified.map(|root| populated_by_events(&root.join(below)));
        let mut populated = None;
        for answer in [pids, unified].into_iter().flatten() {
            match answer {
                Ok(true) => return Ok(Some(true)),
                Ok(false) => populated = Some(false),
                // It is not in that hierarchy, or no longer.
                Err(FileError::Gone(_) | FileError::Absent(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(populated)
    }

    /// Whether this is where the node's cgroups are: what is above a container is there when it is
    /// gone. A daemon that was given no more than its own cgroup finds no container.
    fn shows(&self, below: &Path) -> bool {
        let outermost = below.components().next();
        outermost.is_some_and(|name| self.memory.path.join(name).is_dir())
    }
}

/// The directory in another hierarchy that corresponds to `memory`: of a mount that shows the same cgroup,
/// and rather of one beside the memory controller's.
fn sibling(memory: &Path, mounts: &[Mount], is: fn(&Mount) -> bool) -> Option<PathBuf> {
    let of_memory = mounts
        .iter()
        .filter(|mount| mount.has_memory() && memory.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())?;
    let below = memory.strip_prefix(&of_memory.point).ok()?;
    let common = |mount: &&Mount| {
        let parts = mount.point.components().zip(of_memory.point.components());
        parts.take_while(|(one, other)| one == other).count()
    };
    mounts
        .iter()
        .filter(|mount| is(mount) && mount.root == of_memory.root)
        .max_by_key(common)
        .map(|mount| mount.point.join(below))
}

/// Whether there is a task in the cgroup or below it, of whatever PID namespace
/// (`Documentation/admin-guide/cgroup-v1/pids.rst`).
fn has_task(cgroup: &Path) -> Result<bool, FileError> {
    let file = "pids.current";
    let text = read(cgroup, file)?;
    let tasks: Result<u64, _> = text.trim_end().parse();
    tasks
        .map(|tasks| tasks > 0)
        .map_err(|_| FileError::Malformed {
            path: cgroup.join(file),
            key: "value",
        })
}

fn populated_by_events(cgroup: &Path) -> Result<bool, FileError> {
    let file = "cgroup.events";
    let text = read(cgroup, file)?;
    value(&text, "populated")
        .and_then(parse_flag)
        .ok_or_else(|| FileError::Malformed {
            path: cgroup.join(file),
            key: "populated",
        })
}

fn populated_by_walking(cgroup: &Path) -> Result<bool, FileError> {
    if has_process(cgroup)? {
        return Ok(true);
    }
    for child in Walk::below(cgroup, MAX_CGROUPS) {
        match has_process(&child?) {
            Ok(true) => return Ok(true),
            // A child that went away meanwhile has no process.
            Ok(false) | Err(FileError::Gone(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether a process is listed: one byte is enough.
fn has_process(cgroup: &Path) -> Result<bool, FileError> {
    let path = cgroup.join("cgroup.procs");
    let mut byte = [0];
    fs::File::open(&path)
        .and_then(|mut file| file.read(&mut byte))
        .map(|len| len > 0)
        .map_err(|source| failed(cgroup, path, source))
}

#[cfg(test)]
mod tests;
