//! Processes that die with the victim without being chosen, and those that do not count.

use std::collections::BTreeSet;

use oom_probe::model::{
    kill::Record,
    labels::{Role, VictimKind},
};

use super::{CONTAINER, LIMIT, POD};
use crate::books::Allowed;
use crate::case::{Case, shown};
use crate::expect::{CgroupBefore, Expected, Trigger};
use crate::world::{Running, World};

/// Three processes share one address space: the kernel counts one and kills three.
pub(crate) fn shared_mm(world: &World) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.limited("shared", LIMIT);
    let hog = world.hog(&["shared-mm", "--processes", "3", "--interval", "0"]);
    let ended = Running::start(&cgroup, hog).end().killed();
    let kills = case.kills(3);
    assert_eq!(pids(&kills), sharers(ended.pid, &ended.said));
    let place = CgroupBefore::of(&cgroup);
    for (n, record) in kills.iter().enumerate() {
        let expected = Expected {
            role: if n == 0 {
                Role::Primary
            } else {
                Role::SharedMm
            },
            trigger: Trigger::Other {
                pid: ended.pid,
                path: place.path.clone(),
                same_container: true,
            },
            ..Expected::own_limit(record.kill.victim.pid, &place)
        };
        expected.check(&mut case, record);
    }
    one_event(&kills);
    "3 kills where the kernel counts 1".to_owned()
}

/// The group's pass comes by processes that died for their memory already.
pub(crate) fn shared_mm_in_group(world: &World) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.limited("shared", LIMIT);
    cgroup.set_oom_group(true).unwrap();
    let mut idle = Running::start(&cgroup, world.hog(&["hold", "1M"]));
    idle.line("holding");
    let hog = world.hog(&["shared-mm", "--processes", "3", "--interval", "0"]);
    let ended = Running::start(&cgroup, hog).end().killed();
    idle.wait_killed();
    let allowed = Allowed {
        repeats: 3,
        marked_again: 3,
        ..Allowed::default()
    };
    let kills = case.kills_allowing(4, &allowed);
    let mut all = sharers(ended.pid, &ended.said);
    all.insert(idle.pid());
    assert_eq!(pids(&kills), all);
    one_event(&kills);
    for record in &kills {
        let kill = &record.kill;
        let roles: &[Role] = if kill.victim.pid == idle.pid() {
            &[Role::Group]
        } else if kill.id == kills[0].kill.id {
            &[Role::Primary]
        } else {
            &[Role::Group, Role::SharedMm]
        };
        assert!(roles.contains(&kill.role), "{roles:?}: {}", shown(&kills));
    }
    "4 kills, one event".to_owned()
}

/// A dying init takes its namespace with it: those are no OOM kills.
pub(crate) fn pidns_init(world: &World) -> String {
    let mut case = Case::begin(world);
    // Room for the init to outgrow its parent, whose pages of an unoptimised program alone are 3 MiB.
    let cgroup = world.limited(&format!("{POD}/{CONTAINER}"), 3 * LIMIT);
    let hog = world.hog(&["pidns", "--children", "3", "--interval", "0"]);
    let ended = Running::start(&cgroup, hog).end();
    assert_eq!(ended.status.code(), Some(137), "{}", ended.said);
    let init = ended.numbers("hog: ", " is PID 1 of a new PID namespace");
    let kills = case.kills(1);
    let expected = Expected {
        // Its parent is in the same cgroup: not the first process of a container.
        kind: Some(VictimKind::Child),
        ..Expected::own_limit(init[0], &CgroupBefore::of(&cgroup))
    };
    expected.check(&mut case, &kills[0]);
    assert_eq!(kills[0].kill.victim.ns_pid, Some(1));
    "1 kill, 3 children uncounted".to_owned()
}

/// As a runtime starts a container: whoever starts its init is outside of its cgroup.
pub(crate) fn container_init(world: &World) -> String {
    let mut case = Case::begin(world);
    let shim = world.cgroup("shim");
    let container = world.limited(&format!("{POD}/{CONTAINER}"), LIMIT);
    let procs = container.procs_path().display().to_string();
    let hog = world.hog(&[
        "pidns",
        "--init-cgroup-procs",
        &procs,
        "--children",
        "3",
        "--interval",
        "0",
    ]);
    let ended = Running::start(&shim, hog).end();
    assert_eq!(ended.status.code(), Some(137), "{}", ended.said);
    let init = ended.numbers("hog: ", " is PID 1 of a new PID namespace");
    let kills = case.kills(1);
    let expected = Expected {
        kind: Some(VictimKind::Init),
        ..Expected::own_limit(init[0], &CgroupBefore::of(&container))
    };
    expected.check(&mut case, &kills[0]);
    assert_eq!(kills[0].kill.victim.ns_pid, Some(1));
    "1 kill, the container's init".to_owned()
}

fn pids(kills: &[Record]) -> BTreeSet<u32> {
    kills.iter().map(|record| record.kill.victim.pid).collect()
}

/// `hog: 12 shares its memory with [13, 14]`, hog included.
fn sharers(hog: u32, said: &str) -> BTreeSet<u32> {
    let list = said
        .split_once("shares its memory with [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("", |(list, _)| list);
    let others = list.split(", ").filter_map(|pid| pid.parse().ok());
    others.chain([hog]).collect()
}

fn one_event(kills: &[Record]) {
    let event = &kills[0].kill.event;
    assert!(
        kills.iter().all(|record| record.kill.event == *event),
        "{}",
        shown(kills)
    );
    let primary = kills
        .iter()
        .filter(|record| record.kill.role == Role::Primary);
    assert_eq!(primary.count(), 1, "{}", shown(kills));
}
