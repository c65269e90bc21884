//! What goes on without a daemon, and who takes it over.

pub(super) mod broken;
pub(super) mod draining;
pub(super) mod held;
pub(super) mod lowest;
pub(super) mod outage;
pub(super) mod upgrade;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::{
    case::shown,
    daemon::Daemon,
    mounts::Mount,
    wait,
    world::{Running, World},
};
use capture::model::kill::Record;
use jiff::Timestamp;

const LIMIT: u64 = 6 << 20;
/// One kill every 100 ms.
const PACE: Duration = Duration::from_millis(100);

/// A bpffs of this test's own, gone on drop with all that is pinned in it.
pub(super) struct Bpffs {
    mount: Mount,
    _directory: tempfile::TempDir,
}

impl Bpffs {
    pub(super) fn mount() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            mount: Mount::new(c"bpf", directory.path(), None),
            _directory: directory,
        }
    }

    pub(super) fn pin_dir(&self) -> PathBuf {
        self.mount.path().join("oom-probe")
    }
}

/// One daemon after another with the same pins.
struct Daemons<'w> {
    world: &'w World,
    bpffs: Bpffs,
    state: tempfile::TempDir,
    /// For what each of them writes.
    scratch: Vec<tempfile::TempDir>,
}

impl<'w> Daemons<'w> {
    fn new(world: &'w World) -> Self {
        Self {
            world,
            bpffs: Bpffs::mount(),
            state: tempfile::tempdir().unwrap(),
            scratch: Vec::new(),
        }
    }

    fn start(&mut self, flags: &[&str]) -> Daemon {
        self.try_start(flags).unwrap()
    }

    fn try_start(&mut self, flags: &[&str]) -> Result<Daemon, String> {
        self.start_in(tempfile::tempdir().unwrap(), flags)
    }

    /// What it writes goes there.
    fn start_in(&mut self, scratch: tempfile::TempDir, flags: &[&str]) -> Result<Daemon, String> {
        let program = &self.world.programs().oom_probe;
        let state = self.state.path().display().to_string();
        let flags = [&["--state-dir", &state], flags].concat();
        let daemon = Daemon::start_pinned(program, scratch.path(), &self.bpffs.pin_dir(), &flags);
        self.scratch.push(scratch);
        daemon
    }
}

/// A victim: between when and when it was killed.
type Victims = BTreeMap<u32, (SystemTime, SystemTime)>;

/// Has one process after another killed, one every [`PACE`], until it is told to stop or dropped: a
/// scope waits for its threads even where what came after them panics.
struct Killing<'s> {
    stop: Stop<'s>,
    killed: Arc<AtomicUsize>,
    thread: ScopedJoinHandle<'s, Victims>,
}

/// Set when dropped.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'s> Killing<'s> {
    fn start(scope: &'s Scope<'s, '_>, world: &'s World, stop: &'s AtomicBool) -> Self {
        let killed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&killed);
        let thread = scope.spawn(move || {
            let mut victims = Victims::new();
            while !stop.load(Ordering::Relaxed) {
                let next = Instant::now() + PACE;
                let (pid, when) = one(world);
                victims.insert(pid, when);
                counted.fetch_add(1, Ordering::Relaxed);
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            victims
        });
        Self {
            stop: Stop(stop),
            killed,
            thread,
        }
    }

    /// Waits until that many have been killed since this call.
    fn some_more(&self, count: usize) {
        let killed = || self.killed.load(Ordering::Relaxed);
        // One is under way.
        let enough = killed() + count + 1;
        wait::until("more are killed", killed, |killed| *killed >= enough);
    }

    fn stop(self) -> Victims {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

/// Has one process killed.
fn one(world: &World) -> (u32, (SystemTime, SystemTime)) {
    let cgroup = world.limited("pins", LIMIT);
    let hog = world.hog(&["grow", "--interval", "0", "--step", "2M"]);
    let begun = SystemTime::now();
    let pid = Running::start(&cgroup, hog).end().killed().pid;
    let ended = SystemTime::now();
    cgroup.remove().unwrap();
    (pid, (begun, ended))
}

/// Has so many killed one after another.
fn some(world: &World, count: usize) -> Victims {
    (0..count).map(|_| one(world)).collect()
}

/// The kills of our victims among what daemons have told.
fn ours(told: &[Record], victims: &Victims) -> Vec<Record> {
    let is_ours = |record: &&Record| victims.contains_key(&record.kill.victim.pid);
    told.iter().filter(is_ours).cloned().collect()
}

/// Each victim was told once, at its own time.
fn each_once(told: &[Record], victims: &Victims) {
    let told = ours(told, victims);
    let mut times = BTreeMap::new();
    for record in &told {
        let before = times.insert(record.kill.victim.pid, record.kill.time);
        assert_eq!(before, None, "told twice: {}", shown(&told));
    }
    for (pid, (begun, ended)) in victims {
        let time = times.get(pid);
        let time = time.unwrap_or_else(|| {
            panic!(
                "{pid} was not told, of {} only {}",
                victims.len(),
                told.len()
            )
        });
        let [begun, ended] = [*begun, *ended].map(|at| Timestamp::try_from(at).unwrap());
        assert!(
            (begun..=ended).contains(time),
            "{pid} was killed between {begun} and {ended}, not at {time}"
        );
    }
}

/// Waits until the daemon has written that many more kills than `before`.
fn wait_for_written(daemon: &Daemon, count: usize) {
    let written = || daemon.written().len();
    wait::until_so(
        "the kills are written",
        || written() >= count,
        || format!("{} of {count}: {}", written(), daemon.log()),
    );
}

/// The kernel's own count agrees with what all daemons have counted.
fn balanced(daemon: &Daemon) {
    let unaccounted = || daemon.metrics().value("oom_probe_unaccounted_kills");
    wait::until("no kill is unaccounted", unaccounted, |kills| *kills == 0);
    let metrics = daemon.metrics();
    assert_eq!(metrics.value("oom_probe_pinned"), 1);
    assert_eq!(metrics.value("oom_probe_records_dropped_total"), 0);
}
