//! The way of a kill through the modules: ring, decode, assemble, attribute, sinks.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use oom_probe_common::ledger::Count;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::{
    cluster::{Attributed, Cluster},
    event::{Assembler, Killed, Machine},
    kernel::{
        complete::Complete,
        decode::{Reject, decode},
        ledger::Ledger,
        referee::{self, Baseline, Referee, distance, read_together},
        witness::SignalWitness,
    },
    kill::{Kill, Record},
    labels::{Limit, Role, Scope},
    pods::PodEvent,
    sinks::{Sinks, metrics::NodeCounters},
};

/// Capture, attribution and sinks, in the order of a kill's way.
pub struct Pipeline {
    ring: RingBuf<MapData>,
    ledger: Ledger,
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
    /// Ring and ledger.
    pub ring: RingBuf<MapData>,
    /// See `ring`.
    pub ledger: Ledger,
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
            ring,
            ledger,
            witness,
            complete,
            machine,
            cluster,
            sinks,
            baseline,
            proc_root,
        } = parts;
        Self {
            ring,
            ledger,
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

    /// Takes every record that waits in the ring to its end.
    pub fn drain(&mut self) {
        self.assembler.set_clock(realtime_minus_boottime());
        self.assembler.set_witness(self.witness.judge(&self.ledger));
        while let Some(item) = self.ring.next() {
            self.sinks.metrics.records_received.inc();
            match decode(&item) {
                Ok(record) => {
                    let completed = self.complete.record(&record);
                    match completed.as_deref().map(|bytes| (decode(bytes), bytes)) {
                        Some((Ok(record), bytes)) => {
                            self.assembler.push(&record, bytes, &mut self.killed);
                        }
                        _ => self.assembler.push(&record, &item, &mut self.killed),
                    }
                }
                Err(reject) => reject_record(&self.sinks, &reject),
            }
        }
        self.assembler.release(boottime_ns(), &mut self.killed);
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
    }

    /// Whether [`Pipeline::drain`] has to be called again soon though no record comes.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.assembler.is_holding()
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

    /// Brings metrics up to date with what the kernel counts.
    pub fn refresh(&mut self) {
        self.drain();
        self.complete.look_around(Instant::now());
        let vmstat = || referee::vmstat_oom_kills(&self.proc_root);
        let (ledger, vmstat) = read_together(&self.ledger, vmstat);
        let counts = self.assembler.counts();
        let metrics = &self.sinks.metrics;
        let unaccounted = match (&self.baseline, vmstat) {
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
    }

    fn kill(&mut self, killed: Killed) {
        let Killed { kill, opens_event } = killed;
        if opens_event {
            self.sinks.metrics.oom_events(kill.limit).inc();
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

/// Nanoseconds of `CLOCK_BOOTTIME`.
fn boottime_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0)
}

/// What to add to a boot time to get the wall clock's.
fn realtime_minus_boottime() -> i128 {
    let boottime = nanoseconds(clock_gettime(ClockId::Boottime));
    nanoseconds(clock_gettime(ClockId::Realtime)) - boottime
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
