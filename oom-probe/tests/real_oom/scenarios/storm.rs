//! Many short lives.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::case::{Case, shown};
use crate::expect::{CgroupBefore, Expected, Trigger};
use crate::wait::PAUSE;
use crate::world::{Running, World};

const AT_ONCE: usize = 8;
/// In 3 MiB a parent that may not be killed died of SIGSEGV once in some 40 storms: so ends, for one,
/// who has no page left for what the kernel writes into its memory unasked (kernel/rseq.c).
pub(super) const LIMIT: u64 = 6 << 20;

/// Children of one parent, a few at a time: more would only wait for each other's end. Where programs
/// are read from a disk they would wait for that in a cgroup so full.
pub(crate) fn storm(world: &World) -> String {
    let count = 300;
    let mut case = Case::begin(world);
    let cgroup = world.limited("storm", LIMIT);
    let children = count.to_string();
    let hog = world.hog(&[
        "--oom-score-adj",
        world.spared(),
        "herd",
        "--children",
        &children,
        "--parallel",
        "2",
        "--interval",
        "0",
        "--step",
        "4M",
    ]);
    let running = Running::start(&cgroup, hog);
    let ended = thread::scope(|scope| {
        let ended = scope.spawn(|| running.end());
        read_meanwhile(&mut case, || ended.is_finished());
        ended.join().unwrap()
    });
    assert!(ended.status.success(), "{}: {}", ended.status, ended.said);
    let place = CgroupBefore::of(&cgroup);
    let victims = ended.numbers("hog: child ", " killed by SIGKILL");
    assert_eq!(victims.len(), count, "{}", ended.said);
    let victims = victims
        .into_iter()
        .map(|pid| (pid, place.clone()))
        .collect();
    told(&mut case, &victims, |expected| Expected {
        // They free and charge the same memory at the same time.
        full: false,
        trigger: Trigger::Any,
        ..expected
    });
    format!("{count} of {count} kills")
}

/// Each in a cgroup of its own, which is gone before anybody could look at it.
pub(crate) fn vanishing_cgroups(world: &World) -> String {
    // Starting programs is slow where the machine is emulated.
    let count = if world.vm.is_some() { 24 } else { 300 };
    let mut case = Case::begin(world);
    let next = AtomicUsize::new(0);
    let victims = Mutex::new(HashMap::new());
    thread::scope(|scope| {
        let one_after_another = || {
            while next.fetch_add(1, Ordering::Relaxed) < count {
                let (pid, place) = one(world);
                victims.lock().unwrap().insert(pid, place);
            }
        };
        let runners = [(); AT_ONCE].map(|()| scope.spawn(one_after_another));
        read_meanwhile(&mut case, || {
            runners.iter().all(thread::ScopedJoinHandle::is_finished)
        });
    });
    let victims = victims.into_inner().unwrap();
    assert_eq!(victims.len(), count, "no pid came twice");
    told(&mut case, &victims, |expected| expected);
    format!("{count} of {count} kills, paths of cgroups that are gone")
}

/// The kernel's log holds fewer lines than a storm makes.
fn read_meanwhile(case: &mut Case<'_>, is_over: impl Fn() -> bool) {
    while !is_over() {
        case.log.read();
        thread::sleep(PAUSE);
    }
}

/// A hog's whole life; its cgroup goes the moment it is reaped.
fn one(world: &World) -> (u32, CgroupBefore) {
    let cgroup = world.limited("storm", LIMIT);
    let place = CgroupBefore::of(&cgroup);
    let hog = world.hog(&["grow", "--interval", "0", "--step", "2M"]);
    let ended = Running::start(&cgroup, hog).end().killed();
    cgroup.remove().unwrap();
    (ended.pid, place)
}

/// Every victim is told once, in its place.
fn told(
    case: &mut Case<'_>,
    victims: &HashMap<u32, CgroupBefore>,
    told_as: fn(Expected) -> Expected,
) {
    for record in case.kills(victims.len()) {
        let pid = record.kill.victim.pid;
        let place = victims.get(&pid);
        let place =
            place.unwrap_or_else(|| panic!("no hog: {}", shown(std::slice::from_ref(&record))));
        told_as(Expected::own_limit(pid, place)).check(case, &record);
    }
}
