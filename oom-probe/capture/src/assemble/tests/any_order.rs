//! Whatever order valid records come in: nothing panics, nothing is told twice, the counts add up.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Few of each, so that records meet.
fn record() -> impl Strategy<Value = RecordBuilder> {
    let ids = (0..6_u32, 0..3_u32, 0..3_u64, 0..4_u32);
    let when = (0..40_u64, any::<bool>(), any::<bool>());
    (0..6_u8, ids, when).prop_map(
        |(kind, (process, thread, mm, current), (at, group, full))| {
            let tgid = 100 + process * 10;
            let record = match kind {
                0 => RecordBuilder::mark(tgid),
                1 => RecordBuilder::mark_tid(tgid + thread),
                2 => RecordBuilder::signal(tgid),
                3 => RecordBuilder::signal_whole(tgid),
                4 => RecordBuilder::begin(memcg(CONTAINER_ID)),
                _ => RecordBuilder::end(),
            };
            let record = match kind {
                0 | 3 => record
                    .path(&CONTAINER)
                    .level(0, |at| {
                        if group {
                            at.memory |= level::OOM_GROUP;
                        }
                    })
                    .level(1, |at| {
                        if full {
                            at.max = at.usage;
                        }
                    }),
                _ => record,
            };
            let record = if kind == 1 {
                record
            } else {
                record.tid(tgid + thread)
            };
            record
                .mm(0x1000 + mm)
                .current(100 + current * 10)
                .at(START_NS + at * 1_000_000)
        },
    )
}

proptest! {
    #[test]
    fn each_process_is_killed_once_and_the_counts_add_up(
        records in proptest::collection::vec(record(), 0..60),
        reliable: bool,
    ) {
        let witness = if reliable { Witness::Reliable } else { Witness::Doubtful };
        let run = run_with(witness, records);
        let mut keys = HashSet::new();
        for Killed { kill, .. } in &run.killed {
            prop_assert!(keys.insert(kill.key), "twice: {:?}", kill.key);
        }
        let counts = run.assembler.counts();
        prop_assert_eq!(counts.marks, counts.marked_kills + counts.exiting + counts.marked_again);
        prop_assert_eq!(run.killed.len() as u64, counts.marked_kills + counts.unmarked_kills);
        let primary = run.killed.iter().filter(|killed| killed.kill.role == Role::Primary).count();
        prop_assert_eq!(run.opened(), primary);
    }
}
