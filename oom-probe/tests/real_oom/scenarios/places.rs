//! Where the limit sits that was hit, seen from the victim.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hog::cgroup::Cgroup;
use oom_probe::model::{
    kill::Record,
    labels::{Limit, Scope},
};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::write;

use super::{CONTAINER, LIMIT, POD, POD_UID};
use crate::case::{Case, shown};
use crate::daemon::Daemon;
use crate::expect::{CgroupBefore, Expected};
use crate::harness::skipped;
use crate::world::{Running, World};

/// The paths of some cgroups here are too long for a hog to find its limit by.
const GROW: [&str; 5] = ["grow", "--interval", "0", "--max", "64M"];

/// Far above what a hog gets to.
const ROOMY: u64 = 4 * LIMIT;

/// A hog dies in `leaf` at the limit of `limited`.
fn dies(world: &World, leaf: &Cgroup, limited: &Cgroup, limit: Limit) -> Record {
    let mut case = Case::begin(world);
    let hog = world.hog(&["grow", "--interval", "0"]);
    let ended = Running::start(leaf, hog).end().killed();
    let mut kills = case.kills(1);
    let expected = Expected {
        limit,
        limited: Some(CgroupBefore::of(limited)),
        domain: Some(CgroupBefore::of(limited)),
        ..Expected::own_limit(ended.pid, &CgroupBefore::of(leaf))
    };
    expected.check(&mut case, &kills[0]);
    kills.remove(0)
}

/// The path says whose it is, though no API server is asked.
fn is_in_container(world: &World, record: &Record) {
    if !world.is_named(&record.kill) {
        return;
    }
    let pod = record.pod.as_ref().expect("a pod");
    assert_eq!(pod.uid.as_deref(), Some(POD_UID));
    assert_eq!(pod.container_id.as_deref(), Some(CONTAINER));
}

pub(crate) fn parent_limit(world: &World) -> String {
    let parent = world.limited("parent", LIMIT);
    let leaf = world.cgroup_in(&parent, "leaf");
    dies(world, &leaf, &parent, Limit::Ancestor);
    "the parent's limit".to_owned()
}

pub(crate) fn pod_limit(world: &World) -> String {
    let pod = world.limited(POD, LIMIT);
    let container = world.cgroup_in(&pod, CONTAINER);
    is_in_container(world, &dies(world, &container, &pod, Limit::Pod));
    "pod and container by the path".to_owned()
}

/// As a service manager inside a container makes it.
pub(crate) fn nested(world: &World) -> String {
    let container = world.limited(&format!("{POD}/{CONTAINER}"), LIMIT);
    let nested = world.cgroup_in(&container, "system.slice/worker.service");
    is_in_container(world, &dies(world, &nested, &container, Limit::Container));
    "the container's limit".to_owned()
}

pub(crate) fn nested_with_limit(world: &World) -> String {
    let container = world.limited(&format!("{POD}/{CONTAINER}"), ROOMY);
    let nested = world.cgroup_in(&container, "worker");
    nested.set_limit(LIMIT).unwrap();
    is_in_container(world, &dies(world, &nested, &nested, Limit::Container));
    "the nested cgroup's limit".to_owned()
}

/// Anybody who may make cgroups may name one like a pod's: it is a pod where the kubelet makes them.
pub(crate) fn named_like_a_pod(world: &World) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = Command::new(&world.programs().oom_probe);
    command.arg("run").env_remove("OOM_PROBE_KUBEPODS_ROOT");
    let daemon = Daemon::start_as(command, scratch.path()).unwrap();
    let user = format!("user@1000.service/{POD}/{CONTAINER}");
    let cgroup = world.limited(&user, LIMIT);
    let ended = Running::start(&cgroup, world.hog(&GROW)).end().killed();
    let record = record_of(&daemon, ended.pid);
    let host = record.host.as_ref();
    assert_eq!(
        record.scope,
        Scope::Host,
        "{}",
        shown(std::slice::from_ref(&record))
    );
    if world.is_named(&record.kill) {
        let host = host.expect("a process of the host");
        assert_eq!(host.unit.as_deref(), Some("user@1000.service"));
        assert_eq!(host.container_id.as_deref(), Some(CONTAINER));
    }
    // Where somebody has said so, it is one.
    is_in_container(world, &record_of(&world.daemon, ended.pid));
    "the user's, until its root is named".to_owned()
}

/// On cgroup v1 systemd need not make memory cgroups for its units; its own hierarchy names them.
pub(crate) fn unit_without_memory(world: &World) -> String {
    let own = Path::new("/sys/fs/cgroup/systemd");
    if world.is_v2() || !own.join("cgroup.procs").exists() {
        return skipped("no hierarchy of systemd's own");
    }
    let slice = world.limited("system.slice", LIMIT);
    let unit = own.join(format!("oom-probe-test-{}.service", std::process::id()));
    fs::create_dir(&unit).unwrap();
    let unit = Bare(unit);
    let procs = File::options()
        .write(true)
        .open(unit.0.join("cgroup.procs"))
        .unwrap();
    let mut hog = world.hog(&GROW);
    // SAFETY: write(2) alone is done between fork and exec.
    unsafe { hog.pre_exec(move || write(&procs, b"0").map(drop).map_err(Into::into)) };
    let mut case = Case::begin(world);
    Running::start(&slice, hog).end().killed();
    let kills = case.kills(1);
    let name = unit.0.file_name().and_then(|name| name.to_str());
    let told = kills[0].host.as_ref().and_then(|host| host.unit.as_deref());
    assert_eq!(
        (told, kills[0].scope),
        (name, Scope::Host),
        "{}",
        shown(&kills)
    );
    // It shares that limit with others.
    assert_eq!(kills[0].kill.limit, Limit::Ancestor, "{}", shown(&kills));
    "the unit by systemd's own hierarchy".to_owned()
}

/// Deeper in a container than a record has levels, with names as long as they may be: whose kill it is
/// stays known, and whoever nests deeper still does not move it to the host's account.
pub(crate) fn deep(world: &World) -> String {
    let container = world.limited(&format!("{POD}/{CONTAINER}"), ROOMY);
    for (name, levels) in [("s", 12), ("s", 40), ("long", 24)] {
        let nested = Nest::below(container.directory(), name, levels);
        let mut case = Case::begin(world);
        nested.start(world.hog(&GROW)).end().killed();
        let kills = case.kills(1);
        is_in_container(world, &kills[0]);
        let told = (kills[0].kill.limit, kills[0].kill.truncated);
        assert_eq!(told, (Limit::Container, levels > 16), "{}", shown(&kills));
    }
    // Nobody can say whose it is.
    let nested = Nest::below(container.directory(), "s", 1100);
    let ended = nested.start(world.hog(&GROW)).end().killed();
    let scope = record_of(&world.daemon, ended.pid).scope;
    assert_eq!(scope, Scope::Unknown);
    "the container's, and nobody's beyond 1,000 levels".to_owned()
}

/// The kill of that process, once it is told.
fn record_of(daemon: &Daemon, pid: u32) -> Record {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let kills = daemon.kills(None);
        if let Some(record) = kills.iter().find(|record| record.kill.victim.pid == pid) {
            return record.clone();
        }
        let last = &kills[kills.len().saturating_sub(1)..];
        assert!(
            Instant::now() < deadline,
            "not told; the last: {}",
            shown(last)
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Cgroups each below the other, removed on drop: no path is as long as theirs, so that each is made
/// and entered from the one before.
struct Nest {
    leaf: OwnedFd,
    names: Vec<String>,
}

/// A directory by its name in another.
fn enter(above: &OwnedFd, name: &str) -> OwnedFd {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(above, name, flags, Mode::empty()).unwrap()
}

impl Nest {
    fn below(container: &Path, name: &str, levels: usize) -> Self {
        let mut nest = Self {
            leaf: File::open(container).unwrap().into(),
            names: Vec::new(),
        };
        for level in 0..levels {
            let name = match name {
                "long" => format!("{level:0>255}"),
                name => format!("{name}{level}"),
            };
            mkdirat(&nest.leaf, &name, Mode::RWXU).unwrap();
            nest.leaf = enter(&nest.leaf, &name);
            nest.names.push(name);
        }
        nest
    }

    /// Starts a process in the lowest.
    fn start(&self, mut command: Command) -> Running {
        let procs = openat(
            &self.leaf,
            "cgroup.procs",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let procs = procs.unwrap();
        // SAFETY: write(2) alone is done between fork and exec.
        unsafe { command.pre_exec(move || write(&procs, b"0").map(drop).map_err(Into::into)) };
        Running::of(command.spawn().unwrap())
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        while let Some(name) = self.names.pop() {
            self.leaf = enter(&self.leaf, "..");
            // Where it fails the guard comes by at the end.
            let _ = unlinkat(&self.leaf, name, AtFlags::REMOVEDIR);
        }
    }
}

/// The memory controller ends above the cgroup that the process is in.
pub(crate) fn leaf_without_controller(world: &World) -> String {
    let mut case = Case::begin(world);
    let parent = world.limited("parent", LIMIT);
    let leaf = Bare::below(&parent);
    let procs = leaf.0.join("cgroup.procs").display().to_string();
    let hog = world.hog(&["--cgroup-procs", &procs, "grow", "--interval", "0"]);
    let ended = Running::start(&parent, hog).end().killed();
    let kills = case.kills(1);
    let limited = CgroupBefore::of(&parent);
    let expected = Expected {
        limit: Limit::Ancestor,
        cgroup: CgroupBefore {
            path: format!("{}/bare", limited.path).parse().unwrap(),
            id: fs::metadata(&leaf.0).unwrap().ino(),
            limit: None,
        },
        ..Expected::own_limit(ended.pid, &limited)
    };
    expected.check(&mut case, &kills[0]);
    "path of the leaf, limit of its parent".to_owned()
}

/// A cgroup that its parent gives no controller, removed on drop.
struct Bare(PathBuf);

impl Bare {
    fn below(parent: &Cgroup) -> Self {
        let directory = parent.directory().join("bare");
        fs::create_dir(&directory).unwrap();
        assert!(!directory.join("memory.max").exists());
        Self(directory)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Where it fails the guard comes by at the end.
        let _ = fs::remove_dir(&self.0);
    }
}
