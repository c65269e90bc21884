//! The files of real cgroups, where this machine lets us make some.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use capture::cgroup::{
    files::{FileError, events, oom_group},
    hierarchy::MemoryRoot,
    ids::{CgroupNames, id_of},
    population::{Population, Populations},
};

/// A memory cgroup with one below it; both are removed with it.
struct Scratch {
    root: MemoryRoot,
    path: PathBuf,
}

impl Scratch {
    /// None, and the reason printed, where this machine does not offer it.
    fn new(name: &str) -> Option<Self> {
        let root = MemoryRoot::detect(Path::new("/sys/fs/cgroup"))
            .map_err(|error| eprintln!("skipped: {error}"))
            .ok()?;
        let path = root
            .path
            .join(format!("oom-probe-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("inner"))
            .map_err(|error| eprintln!("skipped: cannot make a cgroup: {error}"))
            .ok()?;
        let scratch = Self { root, path };
        if let Err(error @ FileError::Absent(_)) = events(scratch.root.hierarchy, &scratch.path) {
            eprintln!("skipped: {error}");
            return None;
        }
        Some(scratch)
    }

    /// The inner one.
    fn inner(&self) -> PathBuf {
        self.path.join("inner")
    }

    fn remove(&self) {
        for path in [self.inner(), self.path.clone()] {
            // Already gone is as good.
            let _ = fs::remove_dir(path);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A process that does nothing.
struct Sleeper(Child);

impl Sleeper {
    fn in_cgroup(path: &Path) -> Self {
        let child = Command::new("sleep").arg("3600").spawn().unwrap();
        let sleeper = Self(child);
        fs::write(path.join("cgroup.procs"), sleeper.0.id().to_string()).unwrap();
        sleeper
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_cgroup_is_populated_empty_and_gone_in_turn() {
    let Some(scratch) = Scratch::new("population") else {
        return;
    };
    let populations = Populations::detect(scratch.root.clone());
    let at = |path: &Path| populations.at(path).unwrap();
    let state = || at(&scratch.path);
    assert_eq!(state(), Some(Population::Empty));
    let sleeper = Sleeper::in_cgroup(&scratch.inner());
    assert_eq!(state(), Some(Population::Populated));
    drop(sleeper);
    // v2 tells after the process was reaped, from a work queue.
    let deadline = Instant::now() + Duration::from_secs(60);
    while state() != Some(Population::Empty) {
        assert!(Instant::now() < deadline, "{:?}", state());
        std::thread::sleep(Duration::from_millis(1));
    }
    let inner = scratch.inner();
    fs::remove_dir(&inner).unwrap();
    assert_eq!(at(&inner), Some(Population::Gone));
    assert!(matches!(
        events(scratch.root.hierarchy, &inner),
        Err(FileError::Gone(_))
    ));
}

#[test]
fn a_new_cgroup_has_counted_no_kill_and_asks_for_no_group_kill() {
    let Some(scratch) = Scratch::new("events") else {
        return;
    };
    let counted = events(scratch.root.hierarchy, &scratch.path).unwrap();
    assert_eq!(counted.oom_kill, Some(0));
    assert!(!oom_group(scratch.root.hierarchy, &scratch.path).unwrap());
}

#[test]
fn the_inode_of_its_directory_names_a_cgroup() {
    let Some(scratch) = Scratch::new("ids") else {
        return;
    };
    let mut names = CgroupNames::read(scratch.root.clone(), 16).unwrap();
    let inner = scratch.path.join("inner");
    let ids: Vec<_> = inner
        .ancestors()
        .take(3)
        .map(|path| id_of(path).unwrap())
        .collect();
    let name = scratch.path.file_name().unwrap().as_encoded_bytes();
    assert_eq!(
        names.names(&ids),
        Some(vec![Some(&b"inner"[..]), Some(name)])
    );
}
