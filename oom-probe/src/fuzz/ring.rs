//! Items of the ring, from bytes to what is told of a kill.

use std::collections::HashSet;
use std::time::Instant;

use jiff::tz::TimeZone;
use oom_probe_common::ABI_VERSION;
use prometheus_client::metrics::counter::Counter;

use crate::{
    attribution::attributor::{Attributor, Config, Decision},
    sinks::{
        log::line::line,
        metrics::containers::{Containers, MAX_CONTAINERS, SERIES_TTL},
    },
};
use capture::{
    assemble::{Assembler, Machine, Witness},
    cgroup::node::NodeCgroups,
    model::kill::Record,
    record::{Payload, decode},
};

/// Input: any number of items, each behind its length and what to do with it, in two bytes: the
/// low 14 bits are its length, the highest makes its version and length right (which no mutation
/// of the whole does), the next casts doubt on the signal hook.
pub(super) fn run(mut input: &[u8]) {
    let mut assembler = Assembler::new(Machine {
        node: "node".into(),
        boot: "c0ffee00".into(),
        page_size: 4096,
        clock_ns: 1_700_000_000_000_000_000,
        cgroups: NodeCgroups::default(),
    });
    let mut killed = Vec::new();
    while let Some((head, rest)) = input.split_first_chunk::<2>() {
        let head = u16::from_le_bytes(*head);
        let (item, rest) = rest.split_at(rest.len().min(usize::from(head & 0x3fff)));
        input = rest;
        let mut item = item.to_vec();
        if head & 0x8000 != 0 && item.len() >= 8 {
            item[..2].copy_from_slice(&ABI_VERSION.to_ne_bytes());
            let len = item.len() as u32;
            item[4..8].copy_from_slice(&len.to_ne_bytes());
        }
        assembler.set_witness(if head & 0x4000 == 0 {
            Witness::Reliable
        } else {
            Witness::Doubtful
        });
        match decode(&item) {
            Ok(record) => {
                if let Payload::Mark(task) | Payload::SignalWhole(task) = record.payload {
                    assert_eq!(task.path.iter().count(), task.path.len());
                    assert_eq!(task.trigger_path.iter().count(), task.trigger_path.len());
                }
                assembler.push(&record, &item, &mut killed);
            }
            Err(reject) => super::assert_one_line(&reject.to_string()),
        }
    }
    assembler.release(u64::MAX, &mut killed);
    let counts = assembler.counts();
    assert_eq!(
        counts.marks,
        counts.marked_kills + counts.exiting + counts.marked_again
    );
    assert_eq!(
        killed.len() as u64,
        counts.marked_kills + counts.unmarked_kills
    );
    let mut ids = HashSet::new();
    let mut attributor = Attributor::new(Config::default());
    let containers = Containers::new(SERIES_TTL, MAX_CONTAINERS, Counter::default());
    for killed in killed {
        ids.insert(killed.kill.id.clone());
        let now = Instant::now();
        match attributor.on_kill(killed.kill, now) {
            Decision::Record(record) => {
                told(&record);
                containers.on_kill(&record, now);
            }
            Decision::Parked { .. } => panic!("without a cluster there is nothing to wait for"),
            Decision::OtherNode(_) => panic!("there is no other node without a root"),
        }
    }
    assert_eq!(
        ids.len() as u64,
        counts.marked_kills + counts.unmarked_kills
    );
    super::pods::assert_exposed(&containers);
}

/// A record in all of its forms.
fn told(record: &Record) {
    super::assert_one_line(&line(record, &TimeZone::UTC));
    let json = serde_json::to_string(record).expect("a record can be written");
    super::assert_one_line(&json);
    let again: Record = serde_json::from_str(&json).expect("and read");
    assert_eq!(serde_json::to_string(&again).unwrap_or_default(), json);
}
