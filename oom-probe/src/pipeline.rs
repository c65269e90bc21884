//! The way of a kill through the modules: ring, decode, assemble, attribute, sinks.

mod again;
mod deferral;
mod keep;
mod recovery;
mod restore;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use oom_probe_common::ledger::Count;
use rustix::time::{ClockId, clock_gettime};

use crate::{
    cgroup::hierarchy::MemoryRoot,
    cluster::{Attributed, Cluster},
    event::{Assembler, Killed, Machine, Remembered},
    kernel::{
        books::{Books, Lapses},
        checkpoint::Checkpoint,
        complete::Complete,
        decode::{Payload, Reject, decode, mark_of_any_version},
        ledger::Ledger,
        referee::{self, Baseline, Referee, distance, read_together},
        ring::{Item, Records, RingState},
        takeover::{Takeover, boottime_ns},
        witness::SignalWitness,
    },
    kill::{Kill, Record},
    labels::{Limit, Role, Scope},
    pods::PodEvent,
    sinks::{Sinks, metrics::NodeCounters},
    state::{
        State,
        entry::{Based, Counted},
    },
};
use again::{Again, Turn};
use deferral::Deferral;
use recovery::Recovery;

/// Records that the reader takes at a time: some milliseconds of work.
pub const BATCH: usize = 256;
/// Records that whoever wants to see everything takes at most: more kills than a ring of the
/// default size holds.
const RINGFUL: usize = 8192;

/// What [`Pipeline::drain`] took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drained {
    /// Whether the ring was empty then.
    pub all: bool,
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

/// The part of the ring, one in so many, that the records of an unfinished event may take.
const MOST_KEPT: usize = 4;

/// Capture, attribution and sinks, in the order of a kill's way.
pub struct Pipeline {
    records: Records,
    ledger: Ledger,
    takeover: Takeover,
    books: Books,
    witness: SignalWitness,
    complete: Complete,
    assembler: Assembler,
    cluster: Cluster,
    sinks: Sinks,
    referee: Referee,
    baseline: Option<Baseline>,
    proc_root: PathBuf,
    dropped_marks: u64,
    exiting: u64,
    killed: Vec<Killed>,
    /// Up to where its ring had been read when each of `killed` was told.
    told_at: Vec<Place>,
    captured: u64,
    state: Option<State>,
    again: Again,
    deferral: Deferral,
    /// Kills that are counted and whose records are still in the rings.
    in_ring: Vec<Counted>,
    /// What the state says of the rings.
    kept_rings: Vec<RingState>,
    marks_base: Based,
    dropped_base: Based,
    /// Where containers' own counters are, if they are needed: nothing is kept while no daemon runs.
    counters: Option<MemoryRoot>,
    recovery: Option<Recovery>,
    boot: String,
    node_name: String,
}

/// A ring, by the id of its map, and up to where it has been read.
#[derive(Clone, Copy, Debug)]
struct Place {
    ring: u32,
    read: u64,
}

/// What the pipeline is put together from.
pub struct Parts {
    /// The rings' records.
    pub records: Records,
    /// The kernel programs' counts.
    pub ledger: Ledger,
    /// Since when this daemon captures.
    pub takeover: Takeover,
    /// What earlier daemons have made of the records before those.
    pub checkpoint: Checkpoint,
    /// Watches over the hook on signals.
    pub witness: SignalWitness,
    /// What fills in what the hooks cannot tell.
    pub complete: Complete,
    /// What is the same for every kill.
    pub machine: Machine,
    /// Pods.
    pub cluster: Cluster,
    /// Where records go.
    pub sinks: Sinks,
    /// `/proc/vmstat` when the hooks were armed; absent where it could not be read.
    pub baseline: Option<Baseline>,
    /// The node's procfs.
    pub proc_root: PathBuf,
    /// Where containers' own counters are, if kills of a time without a daemon leave no other trace.
    pub counters: Option<MemoryRoot>,
}

impl Pipeline {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            records,
            ledger,
            takeover,
            checkpoint,
            witness,
            complete,
            machine,
            cluster,
            sinks,
            baseline,
            proc_root,
            counters,
        } = parts;
        Self {
            records,
            ledger,
            takeover,
            witness,
            complete,
            boot: machine.boot.clone(),
            node_name: machine.node.clone(),
            assembler: Assembler::new(machine),
            cluster,
            sinks,
            referee: Referee::default(),
            baseline,
            proc_root,
            dropped_marks: checkpoint.dropped_marks,
            books: Books::new(checkpoint),
            exiting: 0,
            killed: Vec::new(),
            told_at: Vec::new(),
            captured: 0,
            state: None,
            again: Again::default(),
            deferral: Deferral::default(),
            in_ring: Vec::new(),
            kept_rings: Vec::new(),
            marks_base: Based::default(),
            dropped_base: Based::default(),
            counters,
            recovery: None,
        }
    }

    /// Where records go.
    #[must_use]
    pub fn sinks(&self) -> &Sinks {
        &self.sinks
    }

    /// Kills captured so far, dropped records included.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.captured
    }

    /// How many marks the ring was given so far.
    #[must_use]
    pub fn marks_submitted(&self) -> u64 {
        self.ledger.read().marks_submitted()
    }

    /// Takes the records that wait in the ring to their end, but not more than `at_most`: in a
    /// storm there is always one more, and others wait for this thread too. Those that nothing
    /// depends on any more are released then.
    pub fn drain(&mut self, at_most: usize) -> Drained {
        self.assembler.set_clock(realtime_minus_boottime());
        let now_ns = boottime_ns();
        self.witness.look(now_ns);
        let mut drained = Drained::default();
        let mut last_ns = 0;
        let mut unreadable = Vec::new();
        for _ in 0..at_most {
            let Some(Item { bytes, ring, read }) = self.records.next() else {
                drained.all = true;
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
        // What is held waits for a record that may still be in the ring.
        let now_ns = if drained.all { now_ns } else { last_ns };
        self.assembler.release(now_ns, &mut self.killed);
        // What an event waits for must not stop the ring.
        let ring = self.records.live();
        let too_much = ring.kept() > ring.size() / MOST_KEPT;
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
        self.commit(Instant::now());
        self.release();
        if drained.all {
            self.recover();
        }
        self.tell(now_ns);
        drained
    }

    /// Nothing that follows depends on what was read so far.
    fn settle(&mut self) {
        self.records.settle();
        self.books.settle(self.assembler.counts());
    }

    /// Tells of the OOM events that were over at that boot time, up to which all records are read.
    fn tell(&mut self, read_until_ns: u64) {
        let under_way = self.assembler.under_way(read_until_ns);
        self.cluster.tell(under_way, Instant::now());
    }

    /// Lets the kernel write over what nothing depends on any more, and leaves word for the next
    /// daemon where to go on.
    fn release(&mut self) {
        if self.records.kept() == 0 && !self.has_left() {
            return;
        }
        let (misses, dropped_signals) = self.witness.lapses();
        let lapses = Lapses {
            dropped_marks: self.dropped_marks,
            dropped_signals,
            misses,
        };
        let checkpoint = self.books.checkpoint(self.records.settled(), lapses);
        self.ledger.set_checkpoint(&checkpoint);
        self.records.release();
    }

    /// Whether rings of programs that were replaced are still to be read.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.records.has_left()
    }

    /// Whether [`Pipeline::drain`] has to be called again soon though no record comes.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.assembler.is_holding()
            || self.records.kept() > 0
            || self.records.unread() > 0
            || self.cluster.has_untold()
    }

    /// Lets parked kills go whose time is over.
    pub fn tick(&mut self, now: Instant) {
        let records = self.cluster.tick(now);
        self.hand_out(&records);
        for killed in self.deferral.due(now) {
            self.count_deferred(killed);
        }
        self.commit(now);
    }

    /// The metrics have been scraped.
    pub fn scraped(&mut self) {
        if self.cluster.knows_pods() {
            for killed in self.deferral.scraped() {
                self.count_deferred(killed);
            }
            self.commit(Instant::now());
        }
    }

    /// Takes what the watch tells about pods.
    pub fn on_pods(&mut self, event: PodEvent) {
        let now = Instant::now();
        let records = self.cluster.on_pods(event, now);
        self.hand_out(&records);
        self.commit(now);
    }

    /// Takes what is in the ring. What waits for more to be known is left to the next daemon where
    /// there is a state to leave it in, else it is let go.
    pub fn conclude(&mut self) {
        self.refresh();
        let now = Instant::now();
        if !self.keep_all(now, true) {
            let records = self.cluster.conclude(now);
            self.hand_out(&records);
        }
        self.cluster.tell(None, now);
    }

    /// Ends it; Events that wait are posted for that long.
    pub async fn finish(self, within: Duration) {
        self.cluster.finish(within).await;
    }

    /// When [`Pipeline::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let deferred = self.deferral.next();
        [self.cluster.next_tick(), deferred]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes what is in the ring and brings metrics up to date with what the kernel counts.
    pub fn refresh(&mut self) -> Drained {
        let drained = self.drain(RINGFUL);
        self.complete.look_around(Instant::now());
        let vmstat = || referee::vmstat_oom_kills(&self.proc_root);
        let (ledger, vmstat) = read_together(&self.ledger, vmstat);
        let counts = self.books.total(self.assembler.counts());
        let metrics = &self.sinks.metrics;
        let unaccounted = match (&self.baseline, vmstat) {
            // While kills wait in the ring it says nothing.
            (Some(_), Some(_)) if !drained.all => Some(self.referee.last()),
            (Some(baseline), Some(vmstat)) => {
                let distance = distance(baseline, vmstat, &counts, &ledger);
                Some(self.referee.judge(distance, Instant::now()))
            }
            _ => None,
        };
        metrics.set_node_counters(NodeCounters {
            kernel_marks: self.marks_base.with(ledger.get(Count::Marks)).total(),
            records_dropped: self.dropped_base.with(ledger.dropped()).total(),
            vmstat_oom_kills: vmstat,
            unaccounted_kills: unaccounted,
        });
        drained
    }

    fn kill(&mut self, killed: Killed, place: Place) {
        self.captured += 1;
        if let Some(recovery) = &mut self.recovery {
            recovery.see(&killed.kill);
        }
        if !self.takeover.is_drained(killed.kill.boottime_ns) {
            self.observe(&killed.kill);
            return self.count(killed, place);
        }
        self.sinks.metrics.drained_kills.inc();
        match self.deferral.defer(killed) {
            Some(killed) => self.count(killed, place),
            None => self.keep_deferred(),
        }
    }

    fn count_deferred(&mut self, killed: Killed) {
        let RingState { id, released, .. } = self.records.live().state();
        let place = Place {
            ring: id,
            read: released,
        };
        self.count(killed, place);
    }

    fn count(&mut self, killed: Killed, place: Place) {
        let Killed { kill, opens_event } = killed;
        let (limit, role) = (kill.limit, kill.role);
        let opened = opens_event.then_some(kill.time);
        if let Some(time) = opened {
            self.sinks.metrics.oom_event(limit, time);
        }
        let (key, boottime_ns) = (kill.key, kill.boottime_ns);
        let Attributed { scope, records } = self.cluster.on_kill(kill, Instant::now());
        self.sinks.metrics.kills(scope, limit, role).inc();
        self.keep_kill(Counted {
            scope,
            limit,
            role,
            opened,
            process: Remembered {
                tgid: key.tgid,
                start_time_ns: key.start_time_ns,
                role: Some(role),
                at_ns: boottime_ns,
            },
            ring: place.ring,
            read: place.read,
        });
        self.hand_out(&records);
    }

    /// The kill itself is counted when it is seen; this is for what is known of it now.
    fn hand_out(&mut self, records: &[Record]) {
        for record in records {
            self.keep_record(record);
        }
    }

    fn observe(&self, kill: &Kill) {
        let since = jiff::Timestamp::now().duration_since(kill.time);
        let since = Duration::try_from(since).unwrap_or_default();
        self.sinks.metrics.observe_capture(since);
    }

    /// What programs of another release have marked is a kill, for all that is known.
    fn unreadable(&mut self, marks: &[(u64, Reject)]) {
        let Some((_, reject)) = marks.first() else {
            return;
        };
        let count = marks.len() as u64;
        self.captured += count;
        self.keep_dropped(count);
        tracing::warn!("{count} kills are counted without a record: {reject}");
        let metrics = &self.sinks.metrics;
        metrics
            .kills(Scope::Unknown, Limit::Unknown, Role::Primary)
            .inc_by(count);
        let drained = marks
            .iter()
            .filter(|(time_ns, _)| self.takeover.is_drained(*time_ns));
        metrics.drained_kills.inc_by(drained.count() as u64);
    }

    /// A mark whose record was dropped is still a kill, for all that is known.
    fn drops(&mut self) {
        let dropped = self.ledger.read().get(Count::DroppedMarks);
        let new = dropped.saturating_sub(self.dropped_marks);
        if new > 0 {
            self.dropped_marks = dropped;
            self.captured += new;
            self.keep_dropped(new);
            tracing::warn!("the ring was full: {new} kills are counted without a record");
            self.sinks
                .metrics
                .kills(Scope::Unknown, Limit::Unknown, Role::Primary)
                .inc_by(new);
        }
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
