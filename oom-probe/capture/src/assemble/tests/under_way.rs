//! When an OOM event gets no more victims.

use super::*;

/// The event that may still take more after each of the records, by the number of the first kill
/// that was of it; their times follow each other so closely that nothing is over for its silence.
fn under_way(records: impl IntoIterator<Item = RecordBuilder>) -> Vec<Option<usize>> {
    let mut run = Run::new(Witness::Reliable);
    let after_each = records.into_iter().map(|record| {
        run.take(record);
        let id = run.assembler.under_way(START_NS)?;
        run.killed.iter().position(|killed| killed.kill.event == id)
    });
    after_each.collect()
}

/// Eight processes of a container, the chosen one signalled again in its turn.
fn whole_container() -> Vec<RecordBuilder> {
    let mut records = vec![RecordBuilder::signal(100), in_group(100)];
    records.push(RecordBuilder::signal(100));
    for tgid in 101..108 {
        records.extend([RecordBuilder::signal(tgid), in_group(tgid)]);
    }
    records
}

#[test]
fn an_event_is_under_way_until_its_end() {
    let records = within(whole_container());
    let last = records.len() - 1;
    let after_each = under_way(records);
    assert_eq!(after_each[..2], [None, None], "nobody is killed yet");
    assert_eq!(after_each[2..last], vec![Some(0); last - 2]);
    assert_eq!(after_each[last], None);
}

#[test]
fn the_next_event_ends_the_one_before() {
    let next = |record: RecordBuilder| record.at(START_NS + 1_000);
    let first = within(killed(100)).into_iter().take(3);
    let second = within(killed(101)).into_iter().map(next);
    assert_eq!(
        under_way(first.chain(second)),
        [None, None, Some(0), None, None, Some(1), None]
    );
    let bare = killed(100).into_iter().chain(killed(101).map(next));
    let bare = bare.map(|record| record.current(TRIGGER));
    assert_eq!(under_way(bare), [None, Some(0), Some(0), Some(1)]);
}

#[test]
fn an_event_without_an_end_is_over_when_it_has_been_quiet() {
    let ended = |records: Vec<RecordBuilder>, silence: u64| {
        let mut run = Run::new(Witness::Reliable);
        for record in records {
            run.take(record.current(TRIGGER));
        }
        let is_under_way = |at| run.assembler.under_way(at).is_some();
        assert!(is_under_way(START_NS - 1), "a clock that is behind");
        (
            is_under_way(START_NS + silence - 1),
            is_under_way(START_NS + silence),
        )
    };
    let without_end = within(whole_container());
    let without_end = without_end[..without_end.len() - 1].to_vec();
    for (what, records, silence) in [
        ("one process", killed(100).to_vec(), HOLD_NS),
        ("a group", whole_container(), GROUP_GAP_NS),
        ("an end that was dropped", without_end, EVENT_GAP_NS),
    ] {
        assert_eq!(ended(records, silence), (true, false), "{what}");
    }
}

#[test]
fn an_event_is_under_way_while_one_of_its_kills_is_held() {
    let mm = 0xffff_8880_1234_5000;
    let mut run = Run::new(Witness::Reliable);
    for record in [
        RecordBuilder::signal(100),
        in_group(100).mm(mm),
        RecordBuilder::signal_whole(101).path(&CONTAINER).mm(mm),
    ] {
        run.take(record.current(TRIGGER));
    }
    assert!(run.assembler.is_holding());
    let late = START_NS + 10 * GROUP_GAP_NS;
    assert!(run.assembler.under_way(late).is_some());
    run.wait(late);
    assert_eq!(run.killed.len(), 2);
    assert_eq!(run.assembler.under_way(late), None);
}
