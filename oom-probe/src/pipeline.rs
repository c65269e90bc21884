//! The way of a kill through the modules: ring, decode, assemble, attribute, sinks.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use oom_probe_common::ledger::Count;
use rustix::time::{ClockId, clock_gettime};

use crate::{
    cluster::{Attributed, Cluster},
    event::{Assembler, Killed, Machine},
    kernel::{
        complete::Complete,
        decode::{Payload, Reject, decode},
        ledger::Ledger,
        referee::{self, Baseline, Referee, distance, read_together},
        ring::Records,
        takeover::{Takeover, boottime_ns},
        witness::SignalWitness,
    },
    kill::{Kill, Record},
    labels::{Limit, Role, Scope},
    pods::PodEvent,
    sinks::{Sinks, metrics::NodeCounters},
};

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
}

/// What the pipeline is put together from.
pub struct Parts {
    /// The rings' records.
    pub records: Records,
    /// The kernel programs' counts.
    pub ledger: Ledger,
    /// Since when this daemon captures.
    pub takeover: Takeover,
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
}

impl Pipeline {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            records,
            ledger,
            takeover,
            witness,
            complete,
            machine,
            cluster,
            sinks,
            baseline,
            proc_root,
        } = parts;
        Self {
            records,
            ledger,
            takeover,
            witness,
            complete,
            assembler: Assembler::new(machine),
            cluster,
            sinks,
            referee: Referee::default(),
            baseline,
            proc_root,
            dropped_marks: 0,
            exiting: 0,
            killed: Vec::new(),
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
        let counts = self.assembler.counts();
        counts.marked_kills + counts.unmarked_kills + self.dropped_marks
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
        for _ in 0..at_most {
            let Some(item) = self.records.next() else {
                drained.all = true;
                break;
            };
            self.sinks.metrics.records_received.inc();
            match decode(item) {
                Ok(record) => {
                    if matches!(record.payload, Payload::Mark(_) | Payload::MarkTid(_)) {
                        drained.first_mark_ns.get_or_insert(record.header.time_ns);
                    }
                    last_ns = record.header.time_ns;
                    let ledger = self.ledger.read();
                    let witness = self.witness.judge(last_ns, &ledger, now_ns);
                    self.assembler.set_witness(witness);
                    let completed = self.complete.record(&record);
                    match completed.as_deref().map(|bytes| (decode(bytes), bytes)) {
                        Some((Ok(record), bytes)) => {
                            self.assembler.push(&record, bytes, &mut self.killed);
                        }
                        _ => self.assembler.push(&record, item, &mut self.killed),
                    }
                    if self.assembler.is_settled(last_ns) {
                        self.records.settle();
                    }
                }
                Err(reject) => reject_record(&self.sinks, &reject),
            }
        }
        // What is held waits for a record that may still be in the ring.
        let now_ns = if drained.all { now_ns } else { last_ns };
        self.assembler.release(now_ns, &mut self.killed);
        // What an event waits for must not stop the ring.
        let ring = self.records.live();
        if self.assembler.is_settled(now_ns) || ring.kept() > ring.size() / MOST_KEPT {
            self.records.settle();
        }
        let exiting = self.assembler.counts().exiting;
        self.sinks
            .metrics
            .exiting_marks
            .inc_by(exiting - self.exiting);
        self.exiting = exiting;
        for killed in std::mem::take(&mut self.killed) {
            self.kill(killed);
        }
        self.drops();
        self.records.release();
        drained
    }

    /// Whether [`Pipeline::drain`] has to be called again soon though no record comes.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.assembler.is_holding() || self.records.kept() > 0 || self.records.unread() > 0
    }

    /// Lets parked kills go whose time is over.
    pub fn tick(&mut self, now: Instant) {
        let records = self.cluster.tick(now);
        self.hand_out(&records);
    }

    /// Takes what the watch tells about pods.
    pub fn on_pods(&mut self, event: PodEvent) {
        let records = self.cluster.on_pods(event, Instant::now());
        self.hand_out(&records);
    }

    /// Takes what is in the ring, and lets go what waits for more to be known.
    pub fn conclude(&mut self) {
        self.refresh();
        let records = self.cluster.conclude(Instant::now());
        self.hand_out(&records);
    }

    /// Ends it; Events that wait are posted for that long.
    pub async fn finish(self, within: Duration) {
        self.cluster.finish(within).await;
    }

    /// When [`Pipeline::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        self.cluster.next_tick()
    }

    /// Takes what is in the ring and brings metrics up to date with what the kernel counts.
    pub fn refresh(&mut self) -> Drained {
        let drained = self.drain(RINGFUL);
        self.complete.look_around(Instant::now());
        let vmstat = || referee::vmstat_oom_kills(&self.proc_root);
        let (ledger, vmstat) = read_together(&self.ledger, vmstat);
        let counts = self.assembler.counts();
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
            kernel_marks: ledger.get(Count::Marks),
            records_dropped: ledger.dropped(),
            vmstat_oom_kills: vmstat,
            unaccounted_kills: unaccounted,
        });
        drained
    }

    fn kill(&mut self, killed: Killed) {
        let Killed { kill, opens_event } = killed;
        if opens_event {
            self.sinks.metrics.oom_event(kill.limit, kill.time);
        }
        self.observe(&kill);
        let (limit, role) = (kill.limit, kill.role);
        let Attributed { scope, records } = self.cluster.on_kill(kill, Instant::now());
        self.sinks.metrics.kills(scope, limit, role).inc();
        self.hand_out(&records);
    }

    /// The kill itself is counted when it is seen; this is for what is known of it now.
    fn hand_out(&self, records: &[Record]) {
        for record in records {
            self.sinks.record(record);
        }
    }

    fn observe(&self, kill: &Kill) {
        if self.takeover.is_drained(kill.boottime_ns) {
            self.sinks.metrics.drained_kills.inc();
            return;
        }
        let since = jiff::Timestamp::now().duration_since(kill.time);
        let since = Duration::try_from(since).unwrap_or_default();
        self.sinks.metrics.observe_capture(since);
    }

    /// A mark whose record was dropped is still a kill, for all that is known.
    fn drops(&mut self) {
        let dropped = self.ledger.read().get(Count::DroppedMarks);
        let new = dropped - self.dropped_marks;
        if new > 0 {
            self.dropped_marks = dropped;
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
