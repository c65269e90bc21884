//! memory.oom.group: all processes of a cgroup die with the one that was chosen.

use std::collections::BTreeSet;

use hog::cgroup::Cgroup;
use oom_probe::model::labels::Role;

use crate::books::Allowed;
use crate::case::Case;
use crate::expect::{CgroupBefore, Expected, Trigger};
use crate::wait;
use crate::world::{Running, World};

/// More than a group takes while it grows slowly, until it is counted; less than an emulated machine
/// has, beyond which hog refuses to grow.
pub(super) const LOOSE: u64 = 128 << 20;
/// How it grows meanwhile: 5 MiB a second.
pub(super) const SLOWLY: [&str; 4] = ["--step", "256K", "--interval", "50ms"];
/// What it may take from then on: the one that grows is the largest by far, and chosen.
const ROOM: u64 = 16 << 20;

pub(crate) fn of_three(world: &World) -> String {
    group(world, 3, 0)
}

/// The one with oom_score_adj -1000 survives.
pub(crate) fn of_fifty(world: &World) -> String {
    group(world, 50, 1)
}

fn group(world: &World, processes: usize, spared: usize) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.limited("group", LOOSE);
    cgroup.set_oom_group(true).unwrap();
    let (count, spare) = (processes.to_string(), spared.to_string());
    let group = [
        "group",
        "--processes",
        &count,
        "--spare",
        &spare,
        "--linger",
        "1h",
        "--each",
        "256K",
    ];
    let hog = world.hog(&[&group[..], &SLOWLY].concat());
    let mut running = Running::start(&cgroup, hog);
    let before = complete(&cgroup, processes);
    running.wait_killed();
    let after = wait_for(&cgroup, spared);
    let died: BTreeSet<u32> = before.difference(&after).copied().collect();

    // The pass over the group comes by its first victim again.
    let allowed = Allowed {
        repeats: 1,
        ..Allowed::default()
    };
    let kills = case.kills_allowing(processes - spared, &allowed);
    let told: BTreeSet<u32> = kills.iter().map(|record| record.kill.victim.pid).collect();
    assert_eq!(told, died);
    let place = CgroupBefore::of(&cgroup);
    let first = &kills[0].kill;
    for record in &kills {
        let is_first = record.kill.id == first.id;
        let expected = Expected {
            role: if is_first { Role::Primary } else { Role::Group },
            full: is_first,
            trigger: Trigger::Other {
                pid: first.victim.pid,
                path: place.path.clone(),
                same_container: true,
            },
            ..Expected::own_limit(record.kill.victim.pid, &place)
        };
        expected.check(&mut case, record);
        assert_eq!(record.kill.event, first.event, "one event");
        if world.reads_usage() {
            let domain = record.kill.domain.as_ref().expect("a domain");
            assert_eq!(domain.group, Some(true));
            assert_eq!(domain.group_path.as_ref(), Some(&place.path));
        }
    }
    format!("{} of {processes} killed, one event", kills.len())
}

/// The processes in the cgroup, once there are that many. From then on it has little room.
pub(super) fn complete(cgroup: &Cgroup, count: usize) -> BTreeSet<u32> {
    let all = wait_for(cgroup, count);
    // A limit below what is in use by then would be another cause.
    signal(&all, libc::SIGSTOP);
    let usage = cgroup.usage().unwrap();
    cgroup.set_limit(usage + ROOM).unwrap();
    signal(&all, libc::SIGCONT);
    all
}

fn signal(processes: &BTreeSet<u32>, signal: libc::c_int) {
    for pid in processes {
        // SAFETY: kill(2) takes no pointer; the pid was in a cgroup of this test's own a moment ago.
        unsafe { libc::kill(pid.cast_signed(), signal) };
    }
}

/// The processes in the cgroup, once there are that many.
fn wait_for(cgroup: &Cgroup, count: usize) -> BTreeSet<u32> {
    let processes = || cgroup.processes().unwrap();
    let all = wait::until("its processes", processes, |all| all.len() == count);
    all.into_iter().map(i32::cast_unsigned).collect()
}
