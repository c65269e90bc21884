//! The end of a cgroup: kill what runs in it, wait until it is empty, remove it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::group::read_number;
use super::{Error, Version, control};

/// Freeing a gigabyte of small pages takes a fraction of a second; a virtual machine without
/// hardware help may need ten times that, and one that is busy with other work ten times more.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(2);

/// Page cache above this is dropped before a v1 cgroup goes, so that it is not left charged to its
/// parent; below it the call costs more than it gives.
const WORTH_DROPPING: u64 = 1 << 20;

/// Removes the directories in reverse order. A parent that others use by now stays.
pub(super) fn remove_all(version: Version, outermost_first: &[PathBuf]) -> Result<(), Error> {
    let mut leaf = true;
    for directory in outermost_first.iter().rev() {
        match remove_one(version, directory) {
            Ok(()) => {}
            Err(_) if !leaf && has_children(directory) => return Ok(()),
            Err(error) => return Err(error),
        }
        leaf = false;
    }
    Ok(())
}

/// Removes a directory of a cgroup hierarchy and all below, whoever made them; what runs there is
/// killed. That there is no such directory is fine.
///
/// # Errors
/// As [`Cgroup::remove`](super::Cgroup::remove), of the first that stays; all others are tried.
pub fn remove_tree(version: Version, directory: &Path) -> Result<(), Error> {
    let mut below = Ok(());
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below = below.and(remove_tree(version, &entry.path()));
        }
    }
    below.and_then(|()| remove_one(version, directory))
}

fn remove_one(version: Version, directory: &Path) -> Result<(), Error> {
    if version == Version::V1 && processes_in(directory).is_ok_and(|pids| pids.is_empty()) {
        drop_page_cache(directory);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let refusal = match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => error,
        };
        let pids = processes_in(directory)?;
        let may_pass = refusal.raw_os_error() == Some(libc::EBUSY) && !has_children(directory);
        if !may_pass || (Instant::now() > deadline && pids.is_empty()) {
            return Err(Error::io("remove", directory, refusal));
        }
        if Instant::now() > deadline {
            return Err(Error::Busy {
                path: directory.to_owned(),
                pids,
            });
        }
        kill(&pids);
        thread::sleep(PAUSE);
    }
}

fn kill(pids: &[i32]) {
    for &pid in pids.iter().filter(|&&pid| pid > 0) {
        // SAFETY: kill(2) takes no pointer. The pid was in this cgroup a moment ago and is positive,
        // so the signal goes to one process; that it is gone by now is no failure.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

fn drop_page_cache(directory: &Path) {
    let usage = read_number(&directory.join("memory.usage_in_bytes"), |text| {
        text.trim().parse().ok()
    });
    if usage.is_ok_and(|bytes| bytes > WORTH_DROPPING) {
        // Best effort: what stays is charged to the parent when the directory goes.
        let _ = control::write(&directory.join("memory.force_empty"), "0");
    }
}

/// Processes that the reader's PID namespace does not know are listed as 0 on v2, and not at all on v1
/// (kernel/cgroup/cgroup-v1.c `pidlist_array_load`): they keep a cgroup busy and cannot be killed from
/// here.
pub(super) fn processes_in(directory: &Path) -> Result<Vec<i32>, Error> {
    let path = directory.join("cgroup.procs");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", &path, error)),
    }
}

fn has_children(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| {
        entries
            .any(|entry| entry.is_ok_and(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
    })
}
