//! Many kills wait in the ring, and one daemon after another is killed while it reads them.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::{
    daemon::Daemon,
    world::{Running, World},
};
use capture::model::kill::Record;
use hog::cgroup::Cgroup;

use super::{Daemons, balanced};

/// Room for all of them: each takes some 800 bytes.
const FLAGS: [&str; 2] = ["--ring-size", "8M"];
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(1);
const AT_ONCE: usize = 4;

pub(crate) fn killed_while_draining(world: &World) -> String {
    // Starting programs is slow where the machine is emulated.
    let count = if world.vm.is_some() { 200 } else { 5000 };
    let mut daemons = Daemons::new(world);
    let first = daemons.start(&FLAGS);
    // What it does not read the others find.
    first.freeze(true);
    let before = oom_kills();
    storm(world, before + count);
    first.kill();
    let waiting = oom_kills() - before;

    let mut lines = Vec::new();
    for _ in 0..2 {
        let daemon = daemons.start(&FLAGS);
        until(&daemon, "a line", |daemon| daemon.written_bytes() > 0);
        lines.extend(daemon.kill());
    }
    // This one is asked for everything: it takes what it can at once, and is killed when all is told.
    let daemon = daemons.start(&FLAGS);
    until(&daemon, "all of them", |daemon| total(daemon) >= waiting);
    lines.extend(daemon.kill());

    let last = daemons.start(&FLAGS);
    until(&last, "all of them", |daemon| total(daemon) >= waiting);
    balanced(&last);
    // The kernel does not count a process that shares a victim's memory, nor perhaps one without a
    // signal to prove it: `balanced` knows how many those are.
    let (counted, records) = counted(&last);
    assert!(counted >= waiting, "{counted} of {waiting}");
    assert_eq!(records.len() as u64, counted, "each has a record");
    let told = ids(&records);
    assert_eq!(told.len(), records.len(), "some are told twice");
    until(&last, "each has its line", |daemon| {
        let later = daemon.written();
        let lines = lines.iter().chain(&later).map(|line| &*line.kill.id);
        lines.collect::<BTreeSet<&str>>().is_superset(&told)
    });
    let again = lines.len() + last.written().len() - told.len();
    format!("{counted} kills, each counted once, {again} of their lines written again")
}

/// Has processes killed until the kernel has counted so many.
fn storm(world: &World, until: u64) {
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let cgroup = world.limited("draining", 6 << 20);
                while oom_kills() < until {
                    herd(world, &cgroup);
                }
            });
        }
    });
}

/// A parent whose children are killed one after another, until it is killed itself.
fn herd(world: &World, cgroup: &Cgroup) {
    let hog = world.hog(&[
        "--oom-score-adj",
        world.spared(),
        "herd",
        "--children",
        "100",
        "--parallel",
        "2",
        "--interval",
        "0",
        "--step",
        "4M",
    ]);
    Running::start(cgroup, hog).end();
}

/// The kernel's own count.
fn oom_kills() -> u64 {
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap();
    let count = vmstat
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count.unwrap().parse().unwrap()
}

fn ids(records: &[Record]) -> BTreeSet<&str> {
    records.iter().map(|record| &*record.kill.id).collect()
}

fn total(daemon: &Daemon) -> u64 {
    daemon.metrics().sum("oom_probe_kills_total", &[])
}

/// How many are counted, and their records. Others may be killed on this machine meanwhile.
fn counted(daemon: &Daemon) -> (u64, Vec<Record>) {
    loop {
        let before = total(daemon);
        let records = daemon.kills(None);
        if total(daemon) == before {
            return (before, records);
        }
    }
}

fn until(daemon: &Daemon, what: &str, done: impl Fn(&Daemon) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(daemon) {
        assert!(
            Instant::now() < deadline,
            "never: {what}, {} kills counted\n{}",
            total(daemon),
            daemon.log()
        );
        thread::sleep(PAUSE);
    }
}
