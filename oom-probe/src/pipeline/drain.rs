//! Reading: from the ring to kills, and what of the ring is not needed any more.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::{Pipeline, Place};
use crate::{
    capture::{
        handover::{boottime_ns, resumed::Turn},
        record::{Payload, Reject, decode, mark_of_any_version},
        ring::Item,
    },
    sinks::Sinks,
};

/// The part of the ring, one in so many, that the records of an unfinished event may take.
const MOST_KEPT: usize = 4;

/// Records that are taken at a time: what follows from so many is some 100 KiB of the journal.
const STEP: usize = 128;

/// What [`Pipeline::drain`] took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drained {
    /// Whether the ring was empty then.
    pub all: bool,
    /// Whether there is nothing more to take at the moment: it was empty, or what comes next is
    /// still being written.
    pub ended: bool,
    /// When the kernel made the first mark among it: boot time, ns.
    pub first_mark_ns: Option<u64>,
}

impl Drained {
    /// How long the first mark had waited.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        let since = boottime_ns().saturating_sub(self.first_mark_ns?);
        Some(Duration::from_nanos(since))
    }
}

impl Pipeline {
    /// Takes the records that wait in the ring to their end, but not more than `at_most`: in a
    /// storm there is always one more, and others wait for this thread too. Those that nothing
    /// depends on any more are released once the journal has them.
    pub fn drain(&mut self, at_most: usize) -> Drained {
        self.assembler.set_clock(realtime_minus_boottime());
        let now_ns = boottime_ns();
        self.witness.look(now_ns);
        let mut drained = Drained::default();
        self.give_up();
        let mut left = at_most;
        while left > 0 && !drained.ended {
            let step = left.min(STEP);
            self.take(step, now_ns, &mut drained);
            left -= step;
        }
        if drained.all {
            self.recover();
        }
        self.tell(self.read_until_ns);
        self.commit(Instant::now());
        drained
    }

    /// Takes some records and does with them all that there is to do, up to the journal: what is
    /// written together stays small.
    fn take(&mut self, at_most: usize, now_ns: u64, drained: &mut Drained) {
        let mut unreadable = Vec::new();
        let last_ns = self.read(at_most, now_ns, drained, &mut unreadable);
        // What is held waits for a record that may still be in the ring.
        let now_ns = if drained.all { now_ns } else { last_ns };
        self.read_until_ns = now_ns;
        self.assembler.release(now_ns, &mut self.killed);
        // What an event waits for must not stop the ring.
        let ring = self.records.live();
        let too_much = ring.unsettled() > ring.size() / MOST_KEPT;
        let live = self.records.live().state();
        let place = Place {
            ring: live.id,
            read: live.read,
        };
        self.told_at.resize(self.killed.len(), place);
        if self.assembler.is_settled(now_ns) || too_much {
            self.settle();
        }
        let exiting = self.assembler.counts().exiting;
        self.sinks
            .metrics
            .exiting_marks
            .inc_by(exiting - self.exiting);
        self.exiting = exiting;
        let places = std::mem::take(&mut self.told_at);
        for (killed, place) in std::mem::take(&mut self.killed).into_iter().zip(places) {
            if !self.again.is_counted(killed.kill.key) {
                self.kill(killed, place);
            }
        }
        self.unreadable(&unreadable);
        self.drops();
        let now = Instant::now();
        self.commit(now);
        self.release(now);
    }

    /// Feeds the assembler; returns the time of the last record. `unreadable` gets the marks of
    /// another version.
    fn read(
        &mut self,
        at_most: usize,
        now_ns: u64,
        drained: &mut Drained,
        unreadable: &mut Vec<(u64, Reject)>,
    ) -> u64 {
        let mut last_ns = self.read_until_ns;
        for _ in 0..at_most {
            let Some(Item { bytes, ring, read }) = self.records.next() else {
                drained.ended = true;
                drained.all = !self.records.is_waiting();
                break;
            };
            let turn = self.again.turn(ring, read);
            if turn == Turn::New {
                self.sinks.metrics.records_received.inc();
            }
            match decode(bytes) {
                Ok(record) => {
                    if matches!(record.payload, Payload::Mark(_) | Payload::MarkTid(_)) {
                        drained.first_mark_ns.get_or_insert(record.header.time_ns);
                    }
                    last_ns = record.header.time_ns;
                    let ledger = self.ledger.read();
                    let witness = self.witness.judge(last_ns, &ledger, now_ns);
                    self.assembler.set_witness(witness);
                    let before = self.assembler.counts();
                    let completed = self.complete.record(&record);
                    match completed.as_deref().map(|bytes| (decode(bytes), bytes)) {
                        Some((Ok(record), bytes)) => {
                            self.assembler.push(&record, bytes, &mut self.killed);
                        }
                        _ => self.assembler.push(&record, bytes, &mut self.killed),
                    }
                    self.told_at.resize(self.killed.len(), Place { ring, read });
                    if turn == Turn::Again {
                        self.exiting = self.assembler.counts().exiting;
                    }
                    if self.takeover.is_unaccounted(last_ns) {
                        let growth = self.assembler.counts().minus(before);
                        self.books.happened_before(growth);
                    }
                    if self.assembler.is_settled(last_ns) {
                        self.settle();
                    }
                }
                Err(reject @ Reject::Version(_)) => {
                    if turn == Turn::New {
                        self.sinks.metrics.records_rejected.inc();
                    }
                    if let Some(time_ns) = mark_of_any_version(bytes) {
                        drained.first_mark_ns.get_or_insert(time_ns);
                        if !self.takeover.is_unaccounted(time_ns) {
                            self.books.unreadable_mark();
                        }
                        if turn == Turn::New {
                            unreadable.push((time_ns, reject));
                        }
                    }
                }
                Err(reject) if turn == Turn::New => reject_record(&self.sinks, &reject),
                Err(_) => {}
            }
        }
        last_ns
    }

    /// Counts the records that replaced programs have never finished.
    fn give_up(&mut self) {
        let lost = self.records.give_up(Instant::now());
        if lost > 0 {
            self.sinks.metrics.records_rejected.inc_by(lost);
            tracing::warn!(
                "{lost} last records of replaced programs were never finished: kills may be missing"
            );
        }
    }

    /// Tells of the OOM events that were over at that boot time, up to which all records are read.
    fn tell(&mut self, read_until_ns: u64) {
        let under_way = self.assembler.under_way(read_until_ns);
        self.cluster.tell(under_way, Instant::now());
    }
}

fn reject_record(sinks: &Sinks, reject: &Reject) {
    sinks.metrics.records_rejected.inc();
    tracing::warn!("a ring item is no record: {reject}");
}

/// What to add to a boot time to get the wall clock's.
fn realtime_minus_boottime() -> i128 {
    let boottime = i128::from(boottime_ns());
    let realtime = clock_gettime(ClockId::Realtime);
    i128::from(realtime.tv_sec) * 1_000_000_000 + i128::from(realtime.tv_nsec) - boottime
}
