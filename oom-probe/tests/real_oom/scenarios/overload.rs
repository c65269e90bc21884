//! More than the daemon can take: what it counts stays right, and nobody holds it up.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use hog::cgroup::Cgroup;

use super::privileges::kill;
use super::start::daemon;
use crate::daemon::Daemon;
use crate::wait;
use crate::world::{Ended, Running, World};

/// What the daemon may grow by, whatever comes: buffers that it uses for the first time.
const GROWTH_KB: u64 = 4096;

/// A reader that is stopped while a storm runs into the smallest of rings: what no record tells
/// the ledger does.
pub(crate) fn full_ring(world: &World) -> String {
    let count = if world.vm.is_some() { 60 } else { 200 };
    let scratch = tempfile::tempdir().unwrap();
    let mut command = daemon(world);
    command.args(["--ring-size", &smallest_ring()]);
    let daemon = Daemon::start_as(command, scratch.path()).unwrap();
    let before = daemon.metrics();
    let resident = daemon.resident_kb();
    daemon.freeze(true);
    herd(world, count);
    daemon.freeze(false);

    let kills = |metrics: &crate::metrics::Metrics| metrics.sum("oom_probe_kills_total", &[]);
    let mut after = daemon.metrics();
    let counted = || {
        after = daemon.metrics();
        kills(&after)
    };
    wait::until("all are counted", counted, |kills| *kills >= count);
    let growth = |name: &str| after.value(name) - before.value(name);
    let marks = growth("oom_probe_kernel_marks_total");
    let dropped = growth("oom_probe_records_dropped_total");
    let exiting = growth("oom_probe_exiting_marks_total");
    assert!(marks >= count, "{marks} marks of {count} kills");
    assert_eq!(kills(&after) + exiting, marks, "each mark is counted once");
    assert!(dropped > 0, "the ring was full");
    let unknown = after.sum("oom_probe_kills_total", &["limit=\"unknown\"".to_owned()]);
    assert!(unknown > 0 && unknown <= dropped, "{unknown} of {dropped}");
    assert_eq!(growth("oom_probe_records_rejected_total"), 0);
    assert_eq!(after.value("oom_probe_unaccounted_kills"), 0);
    daemon.wait_for_log("the ring was full");
    assert_flat(&daemon, resident);
    assert_eq!(daemon.get("/healthz"), "ok\n");

    // It goes on as if nothing had been.
    let pid = kill(world);
    assert!(
        daemon
            .kills(None)
            .iter()
            .any(|record| record.kill.victim.pid == pid)
    );
    format!("{count} kills, {unknown} of them known by the ledger alone")
}

/// The largest record, rounded up to what a ring may be.
pub(super) fn smallest_ring() -> String {
    rustix::param::page_size().max(8 << 10).to_string()
}

/// Has so many processes killed one after another, or a few more.
pub(super) fn herd(world: &World, count: u64) {
    let cgroup = world.limited("herd", 12 << 20);
    let mut killed = 0;
    while killed < count {
        killed += herd_of(world, &cgroup, count - killed);
    }
}

/// A parent and children that are killed; returns how many were at least.
fn herd_of(world: &World, cgroup: &Cgroup, count: u64) -> u64 {
    let children = count.to_string();
    let hog = world.hog(&[
        "--oom-score-adj",
        world.spared(),
        "herd",
        "--children",
        &children,
        "--parallel",
        "3",
        "--interval",
        "0",
        "--step",
        "512K",
    ]);
    let ended = Running::start(cgroup, hog).end();
    // Where it cannot be spared it is taken while its children are dying.
    let is_parent_killed = ended.status.signal() == Some(libc::SIGKILL);
    let Ended { status, said, .. } = &ended;
    assert!(status.success() || is_parent_killed, "{status}: {said}");
    let children = ended.numbers("hog: child ", " killed by SIGKILL").len() as u64;
    let killed = children + u64::from(is_parent_killed);
    assert!(killed > 0, "{said}");
    killed
}

fn assert_flat(daemon: &Daemon, before_kb: u64) {
    let now = daemon.resident_kb();
    assert!(
        now <= before_kb + GROWTH_KB,
        "{before_kb} kB, then {now} kB"
    );
}

/// Standard output that nobody reads, that is full, or that is not there.
pub(crate) fn blocked_output(world: &World) -> String {
    // Room for two kills or three; the reader is kept, and never reads.
    let (_reader, writer) = io::pipe().unwrap();
    // SAFETY: fcntl(2) with this command takes a number alone.
    let set = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    assert!(set > 0, "{}", io::Error::last_os_error());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let (closed, its_writer) = io::pipe().unwrap();
    drop(closed);
    for (name, stdout) in [
        ("never read", Stdio::from(writer)),
        ("full", Stdio::from(full)),
        ("closed", Stdio::from(its_writer)),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let daemon = Daemon::start_to(daemon(world), scratch.path(), stdout).unwrap();
        let count = 12;
        herd(world, count);
        let told = || daemon.kills(None).len() as u64;
        wait::until(name, told, |told| *told >= count);
        assert_eq!(daemon.get("/healthz"), "ok\n");
        let dropped = || daemon.metrics().value("oom_probe_log_lines_dropped_total");
        // A thread of its own finds out.
        if name != "never read" {
            wait::until(name, dropped, |dropped| *dropped >= count);
        }
        assert_eq!(dropped() >= count, name != "never read", "{name}");
        let (status, log) = daemon.stop();
        assert!(status.success(), "{name}: {status}: {log}");
        assert!(!log.contains("panicked"), "{log}");
    }
    "never read, full, closed: all kills counted, and a good end".to_owned()
}

/// Peers that want it to wait, to hold or to choke.
pub(crate) fn hostile_peers(world: &World) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_as(daemon(world), scratch.path()).unwrap();
    let address = daemon.address();
    daemon.get("/metrics");
    let resident = daemon.resident_kb();
    let silent: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..50 {
            // It may be thrown out meanwhile.
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: n\r\n\r\n");
        }
        deaf.push(stream);
    }
    let mut long = TcpStream::connect(address).unwrap();
    let line = vec![b'a'; 10 << 20];
    let sent = long
        .write_all(b"GET /")
        .and_then(|()| long.write_all(&line))
        .and_then(|()| long.write_all(b" HTTP/1.1\r\n\r\n"));
    let mut answer = Vec::new();
    let _ = long.read_to_end(&mut answer);
    assert!(sent.is_err() || !answer.starts_with(b"HTTP/1.1 200"));

    let pid = kill(world);
    assert!(
        daemon
            .kills(None)
            .iter()
            .any(|record| record.kill.victim.pid == pid)
    );
    assert_eq!(daemon.get("/healthz"), "ok\n");
    let fds = fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .count();
    assert!(fds < 200, "{fds} descriptors");
    assert_flat(&daemon, resident);
    drop((silent, deaf));
    "200 silent connections, 20 that never read, a line of 10 MB".to_owned()
}
