//! Processes that die because they share the victim's mm: signalled after its mark, never marked.

use super::*;

const MM: u64 = 0xffff_8880_0123_0000;

fn victim() -> [RecordBuilder; 2] {
    killed(100).map(|record| record.mm(MM).current(TRIGGER))
}

fn sharing(tgid: u32) -> RecordBuilder {
    RecordBuilder::signal_whole(tgid)
        .path(&CONTAINER)
        .mm(MM)
        .current(TRIGGER)
}

#[test]
fn who_shares_the_mm_dies_with_it_in_the_same_event() {
    let run = run(victim().into_iter().chain([sharing(101), sharing(102)]));
    let want = [
        (100, Role::Primary),
        (101, Role::SharedMm),
        (102, Role::SharedMm),
    ];
    assert_eq!(run.roles(), want);
    assert_eq!(run.events(), [0, 0, 0]);
    assert_eq!(run.opened(), 1);
    let counts = run.assembler.counts();
    assert_eq!((counts.marked_kills, counts.unmarked_kills), (1, 2));
    assert_eq!(run.killed[1].kill.limit, Limit::Container);
}

#[test]
fn another_mm_or_another_task_is_no_co_victim() {
    let child = sharing(101).mm(MM + 4096);
    let elsewhere = sharing(102).current(77);
    let run = run(victim().into_iter().chain([child, elsewhere]));
    assert_eq!(run.roles(), [(100, Role::Primary)]);
}

#[test]
fn an_mm_whose_address_is_used_again_is_another_mm() {
    // The next victim for the same trigger has the address that the last one's mm had.
    let later = START_NS + 1_000_000;
    let next = |record: RecordBuilder| {
        let record = record.mm(MM).current(TRIGGER).at(later);
        record.started(later - 10)
    };
    let marked = [next(sharing(101)), next(in_full_container(101))];
    let bare = [next(sharing(101)), next(RecordBuilder::mark_tid(101))];
    for (what, next) in [("mark", marked), ("thread id", bare)] {
        let run = run(victim().into_iter().chain(next));
        assert_eq!(
            run.roles(),
            [(100, Role::Primary), (101, Role::Primary)],
            "{what}"
        );
        assert_eq!(run.opened(), 2, "{what}");
    }
}

#[test]
fn an_event_that_is_over_has_no_co_victims() {
    let stale = || sharing(101).at(START_NS + 60_000_000_000);
    let run_late = run(victim().into_iter().chain([stale()]));
    assert_eq!(run_late.roles(), [(100, Role::Primary)]);

    let mut ended = within(victim());
    ended.push(sharing(101));
    assert_eq!(run(ended).roles(), [(100, Role::Primary)]);
}

/// Two processes with one mm in a cgroup that dies as a whole: the second is signalled for its mm,
/// then the pass over the group signals both again and marks the second.
fn group_pass(first: [RecordBuilder; 2], sharing: &RecordBuilder, mark: RecordBuilder) -> Run {
    let [signal, first] = first;
    run([
        signal.clone(),
        first,
        sharing.clone(),
        signal,
        sharing.clone(),
        sharing.clone(),
        mark,
    ]
    .map(|record| record.mm(MM).current(TRIGGER)))
}

#[test]
fn a_co_victim_that_its_group_takes_too_is_killed_once() {
    let wanting = |record: RecordBuilder| record.level(0, |at| at.memory |= level::OOM_GROUP);
    let whole = wanting(
        RecordBuilder::signal_whole(100)
            .path(&CONTAINER)
            .level(0, |at| at.max = at.usage),
    );
    let marked = [RecordBuilder::signal(100), in_group(100)];
    let bare = [whole, RecordBuilder::mark_tid(100)];
    for (what, first, mark) in [
        ("mark", marked, in_group(101)),
        ("thread id", bare, RecordBuilder::mark_tid(101)),
    ] {
        let run = group_pass(first, &wanting(sharing(101)), mark);
        assert_eq!(
            run.roles(),
            [(100, Role::Primary), (101, Role::Group)],
            "{what}"
        );
        assert_eq!(run.events(), [0, 0], "{what}");
        let counts = run.assembler.counts();
        assert_eq!(
            (counts.marked_kills, counts.unmarked_kills),
            (2, 0),
            "{what}"
        );
        assert_balanced(counts);
    }
}

#[test]
fn a_co_victim_in_a_group_waits_for_its_mark_and_no_longer() {
    let mut run = Run::new(Witness::Reliable);
    let wanting = |record: RecordBuilder| record.level(0, |at| at.memory |= level::OOM_GROUP);
    let [signal, mark] = victim();
    for record in [signal, wanting(mark), wanting(sharing(101))] {
        run.take(record);
    }
    assert!(run.assembler.is_holding());
    run.wait(START_NS + HOLD_NS);
    assert_eq!(run.roles(), [(100, Role::Primary)]);
    run.wait(START_NS + HOLD_NS + 1);
    assert_eq!(run.roles()[1..], [(101, Role::SharedMm)]);
    assert!(!run.assembler.is_holding());
}

#[test]
fn a_dying_co_victim_that_hits_the_limit_again_is_no_second_kill() {
    // out_of_memory() marks a dying current, without a signal and without counting.
    for mark in [
        in_full_container(101).mm(MM).current(101),
        RecordBuilder::mark_tid(101).current(101),
        in_full_container(101).tid(105).mm(MM).current(105),
    ] {
        let run = run(victim().into_iter().chain([sharing(101), mark]));
        assert_eq!(run.roles(), [(100, Role::Primary), (101, Role::SharedMm)]);
        let counts = run.assembler.counts();
        assert_eq!((counts.marked_kills, counts.unmarked_kills), (1, 1));
        assert_eq!(counts.marked_again, 1);
        assert_balanced(counts);
    }
}
