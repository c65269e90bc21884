//! The stream of kills: what the rings hold, in the kernel's order, and what was lost of it.

mod batch;

use std::path::Path;

use oom_probe_common::ledger::Count;

use super::{
    accounting::{
        checkpoint::Checkpoint,
        counters::Ledger,
        reconciler::{KernelCounts, Vmstat},
        signal_loss::SignalWitness,
        tally::{Books, Lapses},
    },
    assemble::{Assembler, Killed, Machine, Remembered},
    enrich::Complete,
    handover::{
        Capture, Takeover,
        resumed::{Again, Position, Resume, Turn},
    },
    load::Recorded,
    record::{Payload, Reject, decode, mark_of_any_version},
    ring::{Item, Readable, Records, RingState},
};
use crate::sys::clock::Now;
pub use batch::{Batch, Captured, Unreadable};

/// The part of the ring, one in so many, that the records of an unfinished event may take.
const MOST_KEPT: usize = 4;

/// Reads the rings.
pub struct Reader {
    rings: Records,
    counters: Ledger,
    handover: Takeover,
    resumed: Again,
    tally: Books,
    signal_loss: SignalWitness,
    enrich: Complete,
    assembler: Assembler,
    vmstat: Vmstat,
    /// Marks without a record that were counted as kills.
    dropped_marks: u64,
    /// Boot time, ns, up to which all records were read.
    read_until_ns: u64,
    /// What the next daemon is to know, while a release is on its way.
    releasing: Option<Checkpoint>,
}

impl Reader {
    /// Reads from where the rings were released. `enrich` fills in what the hooks cannot tell;
    /// `proc_root` is the node's procfs.
    #[must_use]
    pub fn new(recorded: Recorded, enrich: Complete, machine: Machine, proc_root: &Path) -> Self {
        let Recorded {
            rings,
            counters,
            checkpoint,
            baseline,
            signal,
            handover,
        } = recorded;
        Self {
            rings,
            counters,
            handover,
            resumed: Again::default(),
            signal_loss: SignalWitness::new(signal, &checkpoint),
            enrich,
            assembler: Assembler::new(machine),
            vmstat: Vmstat::new(proc_root.to_owned(), baseline),
            dropped_marks: checkpoint.dropped_marks,
            tally: Books::new(checkpoint),
            read_until_ns: 0,
            releasing: None,
        }
    }

    /// Goes on where an earlier reader of the same rings was. To be called before the first read.
    pub fn resume(&mut self, earlier: Resume) {
        self.dropped_marks = self.dropped_marks.max(earlier.dropped_marks);
        self.resumed = Again::new(earlier.rings, earlier.counted);
    }

    /// Remembers processes that were killed, or marked, earlier in this boot: oldest first.
    pub fn remember(&mut self, processes: impl IntoIterator<Item = Remembered>) {
        for process in processes {
            self.assembler.remember_again(&process);
        }
    }

    /// Takes at most so many of the records that wait, and what follows from them. They stay in
    /// their rings until they are released.
    pub fn read(&mut self, at_most: usize, now: &Now) -> Batch {
        self.assembler.set_clock(now.realtime_minus_boottime_ns());
        self.signal_loss.look(now.boottime_ns);
        let mut batch = Batch::default();
        self.give_up(now, &mut batch);
        let mut killed = Vec::new();
        let last_ns = self.take(at_most, now, &mut batch, &mut killed);
        // What is held waits for a record that may still be in the ring.
        self.read_until_ns = if batch.all { now.boottime_ns } else { last_ns };
        let exiting = self.assembler.counts().exiting;
        self.assembler.release(self.read_until_ns, &mut killed);
        batch.exiting += self.assembler.counts().exiting - exiting;
        let live = self.rings.live();
        let RingState { id, read, .. } = live.state();
        // What an event waits for must not stop the ring.
        let is_crowded = live.unsettled() > live.size() / MOST_KEPT;
        self.give(&mut killed, Position { ring: id, read }, &mut batch);
        if self.assembler.is_settled(self.read_until_ns) || is_crowded {
            self.settle();
        }
        let dropped = self.counters.read().get(Count::DroppedMarks);
        batch.dropped = dropped.saturating_sub(self.dropped_marks);
        self.dropped_marks = self.dropped_marks.max(dropped);
        batch
    }

    /// Feeds the assembler; returns the time of the last record.
    fn take(
        &mut self,
        at_most: usize,
        now: &Now,
        batch: &mut Batch,
        killed: &mut Vec<Killed>,
    ) -> u64 {
        let mut last_ns = self.read_until_ns;
        for _ in 0..at_most {
            let Some(Item { bytes, ring, read }) = self.rings.next() else {
                batch.ended = true;
                batch.all = !self.rings.is_waiting();
                break;
            };
            let is_new = self.resumed.turn(ring, read) == Turn::New;
            batch.received += u64::from(is_new);
            let record = match decode(bytes) {
                Ok(record) => record,
                Err(reject) => {
                    let marked_at = mark_of_any_version(bytes);
                    self.reject(&reject, marked_at, is_new, batch);
                    continue;
                }
            };
            last_ns = record.header.time_ns;
            if matches!(record.payload, Payload::Mark(_) | Payload::MarkTid(_)) {
                batch.first_mark_ns.get_or_insert(last_ns);
            }
            let counts = self.counters.read();
            let witness = self.signal_loss.judge(last_ns, &counts, now.boottime_ns);
            self.assembler.set_witness(witness);
            let before = self.assembler.counts();
            let enriched = self.enrich.record(&record);
            match enriched.as_deref().map(|bytes| (decode(bytes), bytes)) {
                Some((Ok(record), bytes)) => self.assembler.push(&record, bytes, killed),
                _ => self.assembler.push(&record, bytes, killed),
            }
            let growth = self.assembler.counts().minus(before);
            if is_new {
                batch.exiting += growth.exiting;
            }
            if self.handover.is_unaccounted(last_ns) {
                self.tally.happened_before(growth);
            }
            self.give(killed, Position { ring, read }, batch);
            if self.assembler.is_settled(last_ns) {
                self.settle();
            }
        }
        last_ns
    }

    /// Hands out the kills that were not counted before a restart.
    fn give(&mut self, killed: &mut Vec<Killed>, position: Position, batch: &mut Batch) {
        for killed in killed.drain(..) {
            if !self.resumed.is_counted(killed.kill.key) {
                batch.kills.push(Captured {
                    was_away: self.handover.is_drained(killed.kill.boottime_ns),
                    killed,
                    position,
                });
            }
        }
    }

    /// What programs of another release have marked is a kill, for all that is known.
    fn reject(
        &mut self,
        reject: &Reject,
        marked_at_ns: Option<u64>,
        is_new: bool,
        batch: &mut Batch,
    ) {
        batch.rejected += u64::from(is_new);
        let marked_at_ns = marked_at_ns.filter(|_| matches!(reject, Reject::Version(_)));
        let Some(time_ns) = marked_at_ns else {
            if is_new && !matches!(reject, Reject::Version(_)) {
                tracing::warn!("a ring item is no record: {reject}");
            }
            return;
        };
        batch.first_mark_ns.get_or_insert(time_ns);
        if !self.handover.is_unaccounted(time_ns) {
            self.tally.unreadable_mark();
        }
        if is_new {
            let unreadable = batch.unreadable.get_or_insert(Unreadable {
                kills: 0,
                was_away: 0,
                why: reject.to_string(),
            });
            unreadable.kills += 1;
            unreadable.was_away += u64::from(self.handover.is_drained(time_ns));
        }
    }

    /// Counts the records that replaced programs have never finished.
    fn give_up(&mut self, now: &Now, batch: &mut Batch) {
        let lost = self.rings.give_up(now.instant);
        if lost > 0 {
            batch.rejected += lost;
            tracing::warn!(
                "{lost} last records of replaced programs were never finished: kills may be missing"
            );
        }
    }

    /// Nothing that follows depends on what was read so far. A release that is on its way has its
    /// own end.
    fn settle(&mut self) {
        if self.releasing.is_none() {
            self.rings.settle();
            self.tally.settle(self.assembler.counts());
        }
    }

    /// Settles where that had to wait for a release.
    pub fn settle_later(&mut self) {
        if self.assembler.is_settled(self.read_until_ns) {
            self.settle();
        }
    }

    /// Begins to release everything that nothing depends on any more; false where there is nothing.
    /// [`Reader::release`] ends it.
    pub fn begin_release(&mut self) -> bool {
        let begins = self.releasing.is_none() && self.rings.has_settled();
        if begins {
            let (misses, dropped_signals) = self.signal_loss.lapses();
            let lapses = Lapses {
                dropped_marks: self.dropped_marks,
                dropped_signals,
                misses,
            };
            let settled = self.rings.settled();
            self.releasing = Some(self.tally.checkpoint(settled, lapses));
        }
        begins
    }

    /// Lets the kernel write over those records, and leaves word for the next reader where to go on.
    pub fn release(&mut self) {
        if let Some(checkpoint) = self.releasing.take() {
            self.counters.set_checkpoint(&checkpoint);
            self.rings.release();
        }
    }

    /// The part of the live ring that is taken by what was read.
    #[must_use]
    pub fn kept(&self) -> f64 {
        let live = self.rings.live();
        live.kept() as f64 / live.size() as f64
    }

    /// Whether [`Reader::read`] has to be called again soon though no record comes.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.assembler.is_holding()
            || (self.rings.unsettled() > 0 && self.releasing.is_none())
            || self.rings.unread() > 0
            || self.rings.has_left()
    }

    /// Holds the kills that are known against what the kernel counts. `has_read_all` says that none
    /// waits in the rings.
    pub fn reconcile(&mut self, has_read_all: bool, now: &Now) -> KernelCounts {
        self.enrich.look_around(now.instant);
        let total = self.tally.total(self.assembler.counts());
        self.vmstat
            .reconcile(&self.counters, &total, has_read_all, now.instant)
    }

    /// Marks that the rings were given so far.
    #[must_use]
    pub fn marks_submitted(&self) -> u64 {
        self.counters.read().marks_submitted()
    }

    /// Marks, and records of any kind that the ring had no room for, as the kernel counts them.
    #[must_use]
    pub fn marks_and_dropped(&self) -> (u64, u64) {
        let counts = self.counters.read();
        (counts.get(Count::Marks), counts.dropped())
    }

    /// Marks without a record that were counted as kills.
    #[must_use]
    pub fn dropped_marks(&self) -> u64 {
        self.dropped_marks
    }

    /// How far each ring has been read; the live one is the last.
    pub fn rings(&self) -> impl Iterator<Item = RingState> {
        self.rings.states()
    }

    /// A position that no record has that is still in a ring.
    #[must_use]
    pub fn released_position(&self) -> Position {
        let RingState { id, released, .. } = self.rings.live().state();
        Position {
            ring: id,
            read: released,
        }
    }

    /// Whether rings of programs that were replaced are still to be read.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.rings.has_left()
    }

    /// Whether records waited when this process began.
    #[must_use]
    pub fn found_records(&self) -> bool {
        self.has_continued() || self.rings.has_left_records()
    }

    /// Whether an earlier process's programs went on, so that nothing is missing in between.
    #[must_use]
    pub fn has_continued(&self) -> bool {
        self.handover.capture == Capture::Continued
    }

    /// Id of the OOM event that may still take more victims.
    #[must_use]
    pub fn under_way(&self) -> Option<&str> {
        self.assembler.under_way(self.read_until_ns)
    }

    /// The processes that a later reader has to remember.
    pub fn remembered(&self) -> impl Iterator<Item = Remembered> {
        self.assembler.remembered()
    }

    /// Tells when there is something to read.
    ///
    /// # Errors
    /// When the ring cannot be watched.
    pub fn readable(&self) -> std::io::Result<Readable> {
        Readable::new(self.rings.live())
    }
}
