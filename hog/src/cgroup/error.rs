//! Why a cgroup could not be had, in one line with what to try next.

use std::io;
use std::path::{Path, PathBuf};

/// Why a cgroup could not be found, made, set or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// /proc/self/mountinfo shows neither a v1 memory hierarchy nor a cgroup2 mount.
    #[error(
        "no cgroup memory controller is mounted; try `mount -t cgroup2 none /sys/fs/cgroup` as root"
    )]
    NoHierarchy,
    /// cgroup2 is mounted, but its root does not offer the memory controller.
    #[error(
        "{} does not offer the memory controller; boot without cgroup_disable=memory",
        .0.display()
    )]
    NoMemoryController(PathBuf),
    /// A path that would leave the hierarchy or name its root.
    #[error("`{0}` is no cgroup path below the hierarchy's root; try a name such as `hog/leaf`")]
    BadPath(String),
    /// A file that lies on no cgroup file system: what is written there reaches no cgroup.
    #[error("{} is on no cgroup file system; `cat /proc/self/mountinfo` shows where there is one", .0.display())]
    NotACgroup(PathBuf),
    /// memory.oom.group was asked for on cgroup v1.
    #[error("cgroup v1 has no memory.oom.group; group kills need cgroup v2")]
    NoOomGroup,
    /// A file of the cgroup could not be read or written.
    #[error("cannot {action} {}: {source}{}", .path.display(), remedy(.source, .path))]
    Io {
        /// What was tried: `read`, `write`, `create`, `remove`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A file of the cgroup holds something that is no number.
    #[error("{} holds `{text}`, which is no number", .path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
    /// A process would not die within the time given to it.
    #[error(
        "{} still holds processes {pids:?} after SIGKILL; they may be frozen or in uninterruptible \
         sleep",
        .path.display()
    )]
    Busy {
        /// The cgroup's directory.
        path: PathBuf,
        /// The processes that are still there.
        pids: Vec<i32>,
    },
    /// A command could not be started inside the cgroup.
    #[error("cannot start {program} in {}: {source}", .path.display())]
    Spawn {
        /// The program.
        program: String,
        /// The cgroup's directory.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

fn remedy(source: &io::Error, path: &Path) -> &'static str {
    let names_processes = path.ends_with("cgroup.procs") || path.ends_with("tasks");
    let enabling = path.ends_with("cgroup.subtree_control");
    match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "; try as root",
        Some(libc::EROFS) => "; cgroups are mounted read-only here, as in most containers",
        Some(libc::EBUSY) if enabling => {
            "; a cgroup with processes of its own can't hand out controllers: choose another parent"
        }
        Some(libc::EBUSY) => "; it still holds processes or cgroups",
        Some(libc::ENOENT) if names_processes => "; there is no such cgroup",
        Some(libc::ENOENT) => "; is the memory controller enabled in its parent?",
        _ => "",
    }
}
