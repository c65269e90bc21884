//! When what was read means the same without what follows.

use super::*;

/// Whether the ring may forget what was read, after each of the records.
fn settled(records: impl IntoIterator<Item = RecordBuilder>) -> Vec<bool> {
    let mut run = Run::new(Witness::Reliable);
    let after_each = records.into_iter().map(|record| {
        run.take(record);
        run.assembler.is_settled(START_NS)
    });
    after_each.collect()
}

#[test]
fn a_signal_waits_for_its_mark() {
    assert_eq!(settled(killed(100)), [false, true]);
}

#[test]
fn an_event_waits_for_its_end() {
    assert_eq!(settled(within(killed(100))), [false, false, false, true]);
}

#[test]
fn what_does_not_come_is_not_waited_for() {
    let mut run = Run::new(Witness::Reliable);
    run.take(RecordBuilder::signal(100));
    assert!(!run.assembler.is_settled(START_NS + HOLD_NS));
    assert!(run.assembler.is_settled(START_NS + HOLD_NS + 1));
    run.take(RecordBuilder::begin(memcg(CONTAINER_ID)));
    assert!(!run.assembler.is_settled(START_NS + HOLD_NS + 1));
    assert!(run.assembler.is_settled(START_NS + EVENT_GAP_NS));
}

#[test]
fn whoever_reads_on_from_there_misses_nothing() {
    let records = within(killed(100).into_iter().chain(killed(101)))
        .into_iter()
        .chain(killed(102))
        .chain(within(killed(103)));
    let records: Vec<_> = records.collect();
    let whole = run(records.clone());
    for end in 0..records.len() {
        let mut first = Run::new(Witness::Reliable);
        let mut forgotten = 0;
        let mut told = 0;
        for (read, record) in records[..end].iter().enumerate() {
            first.take(record.clone());
            if first.assembler.is_settled(START_NS) {
                (forgotten, told) = (read + 1, first.killed.len());
            }
        }
        let second = run(records[forgotten..].iter().cloned());
        let mut kills: Vec<_> = first.killed[..told].to_vec();
        kills.extend(second.killed);
        assert_eq!(kills, whole.killed, "died after {end} records");
    }
}
