//! memory.oom.group: all processes of a cgroup die with the one that was chosen.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use hog::cgroup::Cgroup;
use oom_probe::labels::Role;

use crate::books::Allowed;
use crate::case::Case;
use crate::expect::{Expected, Place, Trigger};
use crate::world::{Running, World};

const PATIENCE: Duration = Duration::from_secs(20);
/// Slow enough for the processes to be counted before they die.
pub(super) const SLOWLY: &str = "50ms";

pub(crate) fn of_three(world: &World) -> String {
    group(world, 3, 0, 24 << 20)
}

/// The one with oom_score_adj -1000 survives.
pub(crate) fn of_fifty(world: &World) -> String {
    group(world, 50, 1, 48 << 20)
}

fn group(world: &World, processes: usize, spared: usize, limit: u64) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.limited("group", limit);
    cgroup.set_oom_group(true).unwrap();
    let (count, spare) = (processes.to_string(), spared.to_string());
    let hog = world.hog(&[
        "group",
        "--processes",
        &count,
        "--spare",
        &spare,
        "--linger",
        "1h",
        "--each",
        "256K",
        "--step",
        "8M",
        "--interval",
        SLOWLY,
    ]);
    let mut running = Running::start(&cgroup, hog);
    let before = wait_for(&cgroup, processes);
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
    let place = Place::of(&cgroup);
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

/// The processes in the cgroup, once there are that many.
pub(super) fn wait_for(cgroup: &Cgroup, count: usize) -> BTreeSet<u32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pids = cgroup.processes().unwrap();
        if pids.len() == count {
            return pids.into_iter().map(i32::cast_unsigned).collect();
        }
        assert!(
            Instant::now() < deadline,
            "{} processes instead of {count}",
            pids.len()
        );
        thread::sleep(Duration::from_millis(1));
    }
}
