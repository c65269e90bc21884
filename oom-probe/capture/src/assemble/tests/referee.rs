//! What the assembler makes of the kernel's ways to kill, held against what vmstat counts for them.

use super::*;
use crate::accounting::{
    counters::{Baseline, Reading},
    reconciler::distance,
};

/// Distance after vmstat's count grew by that much.
fn unaccounted(run: &Run, growth: u64) -> u64 {
    let nothing = Reading::default();
    distance(
        &Baseline::new(7, 7, &nothing),
        7 + growth,
        &run.assembler.counts(),
        &nothing,
    )
}

fn group() -> Vec<RecordBuilder> {
    let mut records = Vec::new();
    for tgid in [100, 101, 102] {
        records.extend([RecordBuilder::signal(tgid), in_group(tgid)]);
    }
    records.insert(2, RecordBuilder::signal(100));
    within(records)
}

fn shared_mm() -> Vec<RecordBuilder> {
    let sharing = RecordBuilder::signal_whole(101).path(&CONTAINER).mm(0x1000);
    let [signal, mark] = killed(100).map(|record| record.mm(0x1000));
    within([signal, mark, sharing])
}

#[test]
fn every_way_to_kill_agrees_with_the_kernels_count() {
    let exiting = vec![in_full_container(100).current(TRIGGER)];
    let exiting_then_group = vec![
        in_group(100).current(TRIGGER),
        RecordBuilder::signal(100).current(TRIGGER),
    ];
    let twice = killed(100)
        .into_iter()
        .chain([in_full_container(100).tid(101)]);
    // What vmstat may have grown by; the pass over a group counts its first victim again, or not.
    for (what, records, growths) in [
        ("single", killed(100).to_vec(), &[1][..]),
        ("group", group(), &[3, 4][..]),
        ("shared mm", shared_mm(), &[1][..]),
        ("exiting", exiting, &[0][..]),
        ("exiting, then its group", exiting_then_group, &[0, 1][..]),
        ("marked through two threads", twice.collect(), &[1][..]),
    ] {
        let run = run(records);
        assert_balanced(run.assembler.counts());
        for growth in 0..8 {
            let is_right = growths.contains(&growth);
            assert_eq!(
                unaccounted(&run, growth) == 0,
                is_right,
                "{what}: {:?}, vmstat +{growth}",
                run.assembler.counts()
            );
        }
    }
}

#[test]
fn a_kill_that_is_hidden_is_missed() {
    let hidden = killed(101);
    let seen = run(killed(100));
    assert_eq!(unaccounted(&seen, 2), 1);
    let both = run(killed(100).into_iter().chain(hidden));
    assert_eq!(unaccounted(&both, 2), 0);
}

#[test]
fn without_a_signal_hook_the_interval_is_as_wide_as_the_doubt() {
    let marks = [100, 101, 102].map(|tgid| in_group(tgid).current(TRIGGER));
    let run = run_with(Witness::Doubtful, marks);
    for growth in [0, 3, 4, 6] {
        assert_eq!(unaccounted(&run, growth), 0, "vmstat +{growth}");
    }
    assert_eq!(unaccounted(&run, 7), 1);
}
