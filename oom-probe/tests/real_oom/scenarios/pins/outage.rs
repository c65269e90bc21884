//! No daemon for a while, and kills all the time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::SystemTime;

use super::{Daemons, Killing, Victims, balanced, each_once, one, wait_for_written};
use crate::daemon::Daemon;
use crate::wait::PAUSE;
use crate::world::World;

/// Kills of a time without a daemon.
const MEANWHILE: usize = 10;

pub(crate) fn killed(world: &World) -> String {
    outage(world, |daemon| drop(daemon.kill()))
}

pub(crate) fn stopped(world: &World) -> String {
    outage(world, stop)
}

fn stop(daemon: Daemon) {
    let (status, log) = daemon.stop();
    assert!(status.success(), "{status}: {log}");
}

fn outage(world: &World, end: fn(Daemon)) -> String {
    let mut daemons = Daemons::new(world);
    let first = daemons.start(&[]);
    let stop = AtomicBool::new(false);
    let (victims, second, [from, to]) = thread::scope(|scope| {
        let killing = Killing::start(scope, world, &stop);
        wait_for_written(&first, 5);
        end(first);
        let from = SystemTime::now();
        killing.some_more(MEANWHILE);
        let to = SystemTime::now();
        let second = daemons.start(&[]);
        wait_for_written(&second, 1);
        killing.some_more(MEANWHILE / 3);
        (killing.stop(), second, [from, to])
    });
    balanced(&second);
    let is_meanwhile = |(begun, ended): &&(SystemTime, SystemTime)| from <= *begun && *ended <= to;
    let meanwhile = victims.values().filter(is_meanwhile).count() as u64;
    let drained = second.metrics().value("oom_probe_drained_kills_total");
    let log = second.log();
    assert!(log.contains("taking over"), "{log}");
    each_once(&second.kills(None), &victims);
    assert!(meanwhile >= MEANWHILE as u64, "{meanwhile} of {MEANWHILE}");
    assert!(
        drained >= meanwhile,
        "{drained} of {meanwhile} were drained"
    );
    format!(
        "{} kills, {drained} of them while no daemon ran",
        victims.len()
    )
}

/// A storm, and every other daemon has no chance to end in good order.
pub(crate) fn ten_restarts(world: &World) -> String {
    const RESTARTS: usize = 10;
    const AT_ONCE: usize = 4;
    // Starting programs is slow where the machine is emulated.
    let count = if world.vm.is_some() { 60 } else { 500 };
    let mut daemons = Daemons::new(world);
    let daemon = daemons.start(&[]);
    let next = AtomicUsize::new(0);
    let victims = Mutex::new(Victims::new());
    let mut restarts = 0;
    let daemon = thread::scope(|scope| {
        let runners = [(); AT_ONCE].map(|()| {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    let (pid, when) = one(world);
                    victims.lock().unwrap().insert(pid, when);
                }
            })
        });
        let each = count / (RESTARTS + 1);
        let mut daemon = daemon;
        while restarts < RESTARTS {
            while victims.lock().unwrap().len() < each * (restarts + 1) {
                let stuck = runners.iter().all(ScopedJoinHandle::is_finished);
                assert!(!stuck, "nobody is killed any more");
                thread::sleep(PAUSE);
            }
            if restarts % 2 == 0 {
                daemon.kill();
            } else {
                stop(daemon);
            }
            daemon = daemons.start(&[]);
            restarts += 1;
        }
        assert!(runners.into_iter().all(|runner| runner.join().is_ok()));
        balanced(&daemon);
        daemon
    });
    let victims = victims.into_inner().unwrap();
    assert_eq!(victims.len(), count, "no pid came twice");
    each_once(&daemon.kills(None), &victims);
    format!("{count} kills over {restarts} restarts")
}
