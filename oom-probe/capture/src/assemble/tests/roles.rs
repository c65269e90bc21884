//! One victim, and what makes two events of two.

use super::*;

#[test]
fn one_victim_is_one_kill_that_opens_its_event() {
    let run = run(killed(100));
    assert_eq!(run.roles(), [(100, Role::Primary)]);
    assert_eq!(run.opened(), 1);
    let kill = &run.killed[0].kill;
    assert_eq!(kill.id, "c0ffee00-1000000000-100-100000");
    assert_eq!(kill.event, "c0ffee00-1000000000-100");
    assert_eq!(kill.victim.comm.as_deref(), Some("python"));
    let want = Counts {
        marks: 1,
        marked_kills: 1,
        ..Counts::default()
    };
    assert_eq!(run.assembler.counts(), want);
}

#[test]
fn the_thread_that_is_marked_need_not_be_the_leader() {
    let kill = kill_of([
        RecordBuilder::signal(100).tid(101),
        in_full_container(100).tid(101),
    ]);
    assert_eq!((kill.victim.pid, kill.victim.tid), (100, 101));
    assert_eq!(kill.key.tgid, 100);
}

#[test]
fn a_process_marked_through_another_thread_is_one_kill() {
    let mark = |tid| in_full_container(100).tid(tid);
    let run = run([RecordBuilder::signal(100), mark(100), mark(101), mark(102)]);
    assert_eq!(run.roles(), [(100, Role::Primary)]);
    assert_eq!(run.assembler.counts().marked_again, 2);
    assert_balanced(run.assembler.counts());
}

#[test]
fn a_process_id_that_is_given_again_is_another_kill() {
    let again = |record: RecordBuilder| record.started(900_000_000);
    let [signal, mark] = killed(100);
    let run = run(killed(100).into_iter().chain([again(signal), again(mark)]));
    assert_eq!(run.roles(), [(100, Role::Primary); 2]);
    assert_eq!(
        run.events(),
        [0, 0],
        "made at the same time by the same task"
    );
    assert_eq!(run.opened(), 2);
}

#[test]
fn two_kills_for_one_trigger_are_two_events() {
    let later = START_NS + 1_000_000;
    let by = |record: RecordBuilder, at| record.current(TRIGGER).at(at);
    let bare = [(100, START_NS), (101, later)]
        .into_iter()
        .flat_map(|(tgid, at)| killed(tgid).map(|record| by(record, at)));
    let run_bare = run(bare);
    assert_eq!(run_bare.events(), [0, 1]);
    assert_eq!(
        run_bare.roles(),
        [(100, Role::Primary), (101, Role::Primary)]
    );

    let with_context = [(100, START_NS), (101, later)]
        .into_iter()
        .flat_map(|(tgid, at)| within(killed(tgid)).into_iter().map(move |r| r.at(at)));
    let run_context = run(with_context);
    assert_eq!(run_context.events(), [0, 1]);
    assert_eq!(run_context.opened(), 2);
}

#[test]
fn signals_of_another_task_in_between_change_nothing() {
    let other = |tgid| RecordBuilder::signal(tgid).current(77);
    let [signal, mark] = killed(100);
    let run = run([other(300), signal, other(301), other(100), mark, other(302)]);
    assert_eq!(run.roles(), [(100, Role::Primary)]);
    assert_eq!(run.assembler.counts().repeats, 0);
}

#[test]
fn a_signal_of_another_task_proves_no_kill() {
    let run = run([
        RecordBuilder::signal(100).current(77),
        in_full_container(100),
    ]);
    assert!(run.killed.is_empty());
    assert_eq!(run.assembler.counts().exiting, 1);
}

#[test]
fn a_bare_thread_id_is_described_by_the_signal_before_it() {
    let whole = RecordBuilder::signal_whole(100)
        .tid(101)
        .path(&CONTAINER)
        .level(0, |at| at.max = at.usage);
    let kill = kill_of([whole, RecordBuilder::mark_tid(101).current(100)]);
    assert_eq!((kill.victim.pid, kill.victim.tid), (100, 101));
    assert_eq!(kill.limit, Limit::Container);
    assert!(kill.cgroup.is_some());
}

#[test]
fn a_bare_thread_id_without_a_signal_is_a_kill_only_in_doubt() {
    let mark = || [RecordBuilder::mark_tid(101).current(TRIGGER)];
    let certain = run(mark());
    assert!(certain.killed.is_empty());
    assert_eq!(certain.assembler.counts().exiting, 1);

    let doubtful = run_with(Witness::Doubtful, mark());
    assert_eq!(doubtful.roles(), [(101, Role::Primary)]);
    let kill = &doubtful.killed[0].kill;
    assert_eq!(kill.limit, Limit::Unknown);
    assert_eq!((&kill.cgroup, &kill.victim.comm), (&None, &None));
    assert_eq!(doubtful.assembler.counts().doubtful, 1);
}

#[test]
fn a_thread_that_is_its_own_trigger_tells_its_process() {
    let mark = RecordBuilder::mark_tid(101).process(100, 101);
    let run = run_with(Witness::Doubtful, [mark]);
    let victim = &run.killed[0].kill.victim;
    assert_eq!((victim.pid, victim.tid), (100, 101));
}

#[test]
fn a_bare_thread_id_that_comes_back_after_long_is_another_kill() {
    let mark = |at| RecordBuilder::mark_tid(101).current(TRIGGER).at(at);
    for (later, want) in [(1_000_000, 1), (60_000_000_000, 2)] {
        let records = [mark(START_NS), mark(START_NS + later)];
        let run = run_with(Witness::Doubtful, records);
        assert_eq!(run.killed.len(), want, "after {later} ns");
        assert_balanced(run.assembler.counts());
    }
}

#[test]
fn a_path_cut_off_is_said_to_be() {
    use oom_probe_common::record::flag;
    let [signal, mark] = killed(100);
    let kill = kill_of([signal, mark.body(|body| body.flags |= flag::TRUNCATED)]);
    assert!(kill.truncated);
    assert!(!kill_of(killed(100)).truncated);
}
