//! Marks of tasks that were dying anyway: no kills, and no signal before them.

use super::*;

const PF_EXITING: u32 = 0x4;

fn unsignalled() -> RecordBuilder {
    in_full_container(100).current(TRIGGER)
}

#[test]
fn a_mark_without_a_signal_is_a_kill_only_in_doubt() {
    let dying_trigger = |mark: RecordBuilder| mark.body(|body| body.trigger.flags |= PF_EXITING);
    let mut unknown_flags = dying_trigger(unsignalled());
    unknown_flags = unknown_flags.body(|body| body.valid &= !valid::TRIGGER_FLAGS);
    for (what, witness, mark, is_kill) in [
        ("dying", Witness::Reliable, unsignalled(), false),
        ("doubt", Witness::Doubtful, unsignalled(), true),
        // The signal hook says nothing of what a dying task sends.
        (
            "dying trigger",
            Witness::Reliable,
            dying_trigger(unsignalled()),
            true,
        ),
        (
            "dying trigger is the victim",
            Witness::Reliable,
            dying_trigger(unsignalled()).current(100),
            false,
        ),
        ("flags not known", Witness::Reliable, unknown_flags, false),
    ] {
        let run = run_with(witness, [mark]);
        let counts = run.assembler.counts();
        assert_eq!(run.killed.len(), usize::from(is_kill), "{what}");
        assert_eq!(counts.exiting, u64::from(!is_kill), "{what}");
        assert_eq!(counts.doubtful, u64::from(is_kill), "{what}");
        assert_balanced(counts);
    }
}

#[test]
fn an_exiting_mark_opens_no_event_and_ends_none() {
    let by = |records: [RecordBuilder; 2]| records.map(|record| record.current(TRIGGER));
    let group = |tgid| by([RecordBuilder::signal(tgid), in_group(tgid)]);
    let run = run(group(101)
        .into_iter()
        .chain([unsignalled()])
        .chain(group(102)));
    assert_eq!(run.roles(), [(101, Role::Primary), (102, Role::Group)]);
    assert_eq!(run.events(), [0, 0]);
}

#[test]
fn a_task_marked_as_dying_and_then_signalled_for_its_group_is_a_repeat() {
    // __oom_kill_process() counts and signals it; mark_oom_victim() has marked the thread before.
    for dying in [unsignalled(), RecordBuilder::mark_tid(100).current(TRIGGER)] {
        let run = run([dying, RecordBuilder::signal(100).current(TRIGGER)]);
        assert!(run.killed.is_empty());
        let counts = run.assembler.counts();
        assert_eq!((counts.exiting, counts.repeats), (1, 1));
    }
}

#[test]
fn a_thread_marked_by_a_dying_task_is_a_kill_unless_it_is_that_task() {
    for (what, witness, current, is_kill) in [
        ("another", Witness::Reliable, TRIGGER, true),
        ("itself", Witness::Reliable, 100, false),
        ("in doubt", Witness::Doubtful, 100, true),
    ] {
        let mark = RecordBuilder::mark_tid(100).by_exiting().current(current);
        let run = run_with(witness, [mark]);
        let counts = run.assembler.counts();
        assert_eq!(run.killed.len(), usize::from(is_kill), "{what}");
        assert_eq!(counts.exiting, u64::from(!is_kill), "{what}");
        assert_balanced(counts);
    }
}

/// By the plain tracepoints a mark is completed from `/proc`, and a signal tells the thread alone.
#[test]
fn a_bare_thread_id_in_a_signal_proves_the_kill_of_that_thread() {
    let from_proc = || in_full_container(100).tid(107).current(TRIGGER);
    for (what, signal, is_kill) in [
        (
            "to the thread",
            Some(RecordBuilder::signal_tid(107).current(TRIGGER)),
            true,
        ),
        (
            "to another",
            Some(RecordBuilder::signal_tid(108).current(TRIGGER)),
            false,
        ),
        (
            "by another",
            Some(RecordBuilder::signal_tid(107).current(TRIGGER + 1)),
            false,
        ),
        ("none", None, false),
    ] {
        let mark = from_proc().body(|body| body.valid &= !(valid::MM | valid::TRIGGER_FLAGS));
        let run = run(signal.into_iter().chain([mark]));
        let counts = run.assembler.counts();
        assert_eq!(run.killed.len(), usize::from(is_kill), "{what}");
        assert_eq!(
            (counts.exiting, counts.doubtful),
            (u64::from(!is_kill), 0),
            "{what}"
        );
        assert_balanced(counts);
    }
}
