//! `memory.oom.group`: all processes of a cgroup die.

use super::*;

const GROUP: [(u32, Role); 3] = [(100, Role::Primary), (101, Role::Group), (102, Role::Group)];

/// The kernel signals the first victim again when it comes by it in the group (measured on every
/// kernel: oom_kill counts four for three processes).
fn pass() -> Vec<RecordBuilder> {
    let mut records = vec![RecordBuilder::signal(100), in_group(100)];
    records.push(RecordBuilder::signal(100));
    for tgid in [101, 102] {
        records.extend([RecordBuilder::signal(tgid), in_group(tgid)]);
    }
    records
}

#[test]
fn a_group_is_one_event_with_and_without_context() {
    let bare = pass().into_iter().map(|record| record.current(TRIGGER));
    for (what, run) in [("bare", run(bare)), ("context", run(within(pass())))] {
        assert_eq!(run.roles(), GROUP, "{what}");
        assert_eq!(run.events(), [0, 0, 0], "{what}");
        assert_eq!(run.opened(), 1, "{what}");
        let counts = run.assembler.counts();
        assert_eq!((counts.repeats, counts.marked_kills), (1, 3), "{what}");
        let domain = run.killed[2].kill.domain.as_ref();
        assert_eq!(domain.and_then(|domain| domain.group), Some(true), "{what}");
    }
}

#[test]
fn the_cgroup_that_asked_for_it_is_told() {
    let kill = kill_of([RecordBuilder::signal(100), in_group(100)]);
    let domain = kill.domain.expect("the container is full");
    assert_eq!(domain.group_path, domain.path);
    let kill = kill_of(killed(100));
    let domain = kill.domain.expect("the container is full");
    assert_eq!((domain.group, domain.group_path), (Some(false), None));
}

#[test]
fn the_topmost_cgroup_up_to_the_domain_decides_on_the_group() {
    // (levels that want it, level of the domain, level of the group)
    for (wanting, domain, group) in [
        (&[0, 1][..], 1, Some(1)),
        (&[0, 1][..], 0, Some(0)),
        (&[2][..], 1, None),
        (&[0][..], 3, Some(0)),
    ] {
        let mark = wanting
            .iter()
            .fold(RecordBuilder::mark(100).path(&CONTAINER), |mark, n| {
                mark.level(*n, |at| at.memory |= level::OOM_GROUP)
            });
        let mark = mark.level(domain, |at| at.max = at.usage);
        let kill = kill_of([RecordBuilder::signal(100), mark]);
        let path = |n: usize| {
            format!(
                "/{}",
                CONTAINER[n..4]
                    .iter()
                    .rev()
                    .copied()
                    .collect::<Vec<_>>()
                    .join("/")
            )
        };
        let got = kill.domain.expect("a level is full").group_path;
        assert_eq!(
            got.map(|path| path.to_string()),
            group.map(path),
            "{wanting:?} below {domain}"
        );
    }
}

#[test]
fn the_next_victim_long_after_opens_an_event_of_its_own() {
    let mut second: Vec<_> = vec![RecordBuilder::signal(103), in_group(103)];
    for record in &mut second {
        *record = record.clone().at(START_NS + 5_000_000_000);
    }
    let run = run(pass().into_iter().chain(second).map(|r| r.current(TRIGGER)));
    assert_eq!(run.events(), [0, 0, 0, 3]);
    assert_eq!(run.killed[3].kill.role, Role::Primary);
}

#[test]
fn a_group_whose_threads_are_all_the_kernel_tells_is_one_event() {
    let whole = |tgid| {
        RecordBuilder::signal_whole(tgid)
            .path(&CONTAINER)
            .level(0, |at| at.max = at.usage)
            .level(0, |at| at.memory |= level::OOM_GROUP)
    };
    let mut records = Vec::new();
    for tgid in [100, 101, 102] {
        records.extend([whole(tgid), RecordBuilder::mark_tid(tgid)]);
    }
    // The repeated signal of the first victim, in its place.
    records.insert(2, whole(100));
    let run = run(records.into_iter().map(|record| record.current(TRIGGER)));
    assert_eq!(run.roles(), GROUP);
    assert_eq!(run.events(), [0, 0, 0]);
    assert_eq!(run.assembler.counts().repeats, 1);
}
