//! One process dies of its own cgroup's limit.

use oom_probe::model::labels::VictimKind;

use super::{CONTAINER, LIMIT, POD};
use crate::case::Case;
use crate::expect::{CgroupBefore, Expected};
use crate::world::{Running, World};

/// The plain case.
pub(crate) fn single(world: &World) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.limited("single", LIMIT);
    let hog = world.hog(&["--uid", "4321", "grow", "--interval", "0"]);
    let ended = Running::start(&cgroup, hog).end().killed();
    let kills = case.kills(1);
    let expected = Expected {
        uid: 4321,
        ..Expected::own_limit(ended.pid, &CgroupBefore::of(&cgroup))
    };
    expected.check(&mut case, &kills[0]);
    assert_eq!(kills[0].kill.victim.tid, ended.pid);
    "1 kill".to_owned()
}

/// What no restart shows: children die, one after another, and their parent goes on.
pub(crate) fn child(world: &World) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.limited(&format!("{POD}/{CONTAINER}"), LIMIT);
    let hog = world.hog(&["herd", "--children", "3", "--interval", "0"]);
    let ended = Running::start(&cgroup, hog).end();
    assert!(ended.status.success(), "the parent dies: {}", ended.said);
    let children = ended.numbers("hog: child ", " killed by SIGKILL");
    let kills = case.kills(3);
    for (pid, record) in children.iter().zip(&kills) {
        let expected = Expected {
            kind: Some(VictimKind::Child),
            ..Expected::own_limit(*pid, &CgroupBefore::of(&cgroup))
        };
        expected.check(&mut case, record);
        assert_eq!(record.kill.victim.oom_score_adj, Some(1000));
    }
    "3 kills, parent alive".to_owned()
}

/// The thread that is marked is not the one that gave the process its id.
pub(crate) fn leader_exited(world: &World) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.limited("leader", LIMIT);
    let hog = world.hog(&["leader-exit", "--interval", "0"]);
    let ended = Running::start(&cgroup, hog).end().killed();
    let kills = case.kills(1);
    Expected::own_limit(ended.pid, &CgroupBefore::of(&cgroup)).check(&mut case, &kills[0]);
    let tid = ended.numbers("exits, thread ", " grows");
    assert_eq!([kills[0].kill.victim.tid], tid[..], "the thread that grew");
    assert_ne!(tid[0], ended.pid);
    "tgid right, tid another".to_owned()
}

/// A name that would break a line, a string or an encoding.
pub(crate) fn hostile_name(world: &World) -> String {
    let mut case = Case::begin(world);
    let cgroup = world.limited("hostile \"\\ name", LIMIT);
    let name = r#"a"\\\n\xffz"#;
    let hog = world.hog(&["--comm", name, "grow", "--interval", "0"]);
    let ended = Running::start(&cgroup, hog).end().killed();
    let kills = case.kills(1);
    let place = CgroupBefore::of(&cgroup);
    let expected = Expected {
        comm: name,
        ..Expected::own_limit(ended.pid, &place)
    };
    expected.check(&mut case, &kills[0]);
    let printed = serde_json::to_value(&kills[0]).unwrap()["cgroup"]["path"].clone();
    if world.is_named(&kills[0].kill) {
        let printed = printed.as_str().expect("a path");
        assert!(printed.ends_with(r#"/hostile "\\ name"#), "{printed}");
    }
    "escaped alike everywhere".to_owned()
}
