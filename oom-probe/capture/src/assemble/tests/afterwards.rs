//! Kills of which the kernel told a thread id only, completed afterwards from `/proc`.

use oom_probe_common::record::{hook, valid};

use super::*;

fn from_proc(tgid: u32, tid: u32) -> RecordBuilder {
    let mark = RecordBuilder::mark(tgid)
        .tid(tid)
        .hook(hook::TRACEPOINT)
        .path(&CONTAINER)
        .body(|body| body.valid = valid::IDS | valid::START_TIME | valid::COMM)
        .current(TRIGGER);
    (0..CONTAINER.len()).fold(mark, |mark, n| {
        mark.level(n, |at| {
            (at.memory, at.id) = (0, if n == 0 { 0 } else { at.id });
        })
    })
}

#[test]
fn a_kill_says_that_it_was_read_afterwards_and_what_is_not_known() {
    let run = run_with(Witness::Doubtful, [from_proc(100, 100)]);
    let kill = &run.killed[0].kill;
    assert!(kill.from_proc);
    assert!(kill.identity.container.is_some());
    assert_eq!(
        (kill.limit, kill.limit_source, kill.cause),
        (Limit::Unknown, None, None)
    );
    assert_eq!(kill.domain, None);
    let trigger = kill.trigger.as_ref().expect("the header has it");
    assert_eq!((trigger.pid, trigger.same_container), (TRIGGER, None));
    assert_eq!(
        kill.cgroup_ids,
        [0, 997, 998, 999, 1000],
        "the leaf is gone"
    );
    assert!(!kill_of(killed(100)).from_proc);
}

#[test]
fn a_process_marked_through_two_threads_is_one_kill_where_its_start_is_known() {
    let run = run_with(
        Witness::Doubtful,
        [from_proc(100, 100), from_proc(100, 101)],
    );
    assert_eq!(run.roles(), [(100, Role::Primary)]);
    assert_balanced(run.assembler.counts());
}

#[test]
fn a_hundred_processes_that_are_gone_are_a_hundred_kills() {
    let gone = (100..200).map(|tid| {
        RecordBuilder::mark(tid)
            .started(0)
            .hook(hook::TRACEPOINT)
            .body(|body| body.valid = valid::IDS)
            .current(TRIGGER)
    });
    let run = run_with(Witness::Doubtful, gone);
    assert_eq!(run.killed.len(), 100);
    assert_eq!(run.opened(), 100);
    for Killed { kill, .. } in &run.killed {
        assert!(kill.from_proc && kill.cgroup.is_none(), "{}", kill.id);
    }
}
