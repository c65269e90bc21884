//! Whose allocation it was is one thing, who dies another.

use std::fs;

use oom_probe::model::labels::{Cause, Limit};

use super::LIMIT;
use crate::books::Allowed;
use crate::case::Case;
use crate::expect::{CgroupBefore, Expected, Trigger};
use crate::world::{Running, World};

/// A small process runs into the common limit, its large idle neighbour dies.
pub(crate) fn idle_victim(world: &World) -> String {
    let mut case = Case::begin(world);
    let parent = world.limited("parent", 4 * LIMIT);
    let quiet = world.cgroup_in(&parent, "quiet");
    let busy = world.cgroup_in(&parent, "busy");
    let mut idle = Running::start(&quiet, world.hog(&["hold", "24M"]));
    idle.line("holding");
    let spared = ["--oom-score-adj", world.spared(), "grow"];
    let grow = ["--max", "12M", "--step", "4M", "--interval", "0"];
    let grow = [&spared[..], &grow[..]].concat();
    let trigger = Running::start(&busy, world.hog(&grow)).end();
    idle.wait_killed();
    // Where it could not be spared it may be taken as well.
    let kills = case.kills(1 + usize::from(!trigger.status.success()));
    let expected = Expected {
        limit: Limit::Ancestor,
        limited: Some(CgroupBefore::of(&parent)),
        domain: Some(CgroupBefore::of(&parent)),
        trigger: Trigger::Other {
            pid: trigger.pid,
            path: CgroupBefore::of(&busy).path,
            same_container: false,
        },
        ..Expected::own_limit(idle.pid(), &CgroupBefore::of(&quiet))
    };
    expected.check(&mut case, &kills[0]);
    if let [_, second] = &kills[..] {
        let expected = Expected {
            cgroup: CgroupBefore::of(&busy),
            trigger: Trigger::Itself,
            pid: Some(trigger.pid),
            ..expected
        };
        expected.check(&mut case, second);
    }
    "trigger in another cgroup".to_owned()
}

/// Somebody outside writes a limit below what is used: this test itself.
pub(crate) fn limit_lowered(world: &World) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.limited("lowered", 4 * LIMIT);
    let mut idle = Running::start(&cgroup, world.hog(&["hold", "20M"]));
    idle.line("holding");
    cgroup.set_limit(LIMIT).unwrap();
    idle.wait_killed();
    let kills = case.kills(1);
    let expected = Expected {
        cause: Cause::LimitLowered,
        full: false,
        trigger: Trigger::Other {
            pid: std::process::id(),
            path: own_cgroup().parse().unwrap(),
            same_container: false,
        },
        ..Expected::own_limit(idle.pid(), &CgroupBefore::of(&cgroup))
    };
    expected.check(&mut case, &kills[0]);
    "cause: limit_lowered".to_owned()
}

fn own_cgroup() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.expect("a line of the unified hierarchy").to_owned()
}

/// The chosen one is dying anyway: marked, not killed.
pub(crate) fn exiting(world: &World) -> String {
    let mut case = Case::begin(world);
    let said = beside_exiting(world);
    let allowed = Allowed {
        exiting: 1,
        ..Allowed::default()
    };
    case.kills_allowing(0, &allowed);
    let marks = case.growth("oom_probe_exiting_marks_total");
    let is_so = marks == 1 || marks > 1 && !case.is_alone();
    assert!(is_so, "{marks} exiting marks: {said}");
    "1 exiting mark, no kill".to_owned()
}

/// Grows into a limit beside a process that is being killed already; returns what was said.
pub(super) fn beside_exiting(world: &World) -> String {
    // The one that exits has to be the larger by far, the pages of the program itself included.
    let cgroup = world.limited("exiting", 4 * LIMIT);
    let sizes = ["exiting", "24M", "--max", "12M", "--step", "4M"];
    let hog = world.hog(&[&sizes[..], &["--interval", "0"]].concat());
    let ended = Running::start(&cgroup, hog).end();
    assert!(ended.status.success(), "{}", ended.said);
    ended.said
}
