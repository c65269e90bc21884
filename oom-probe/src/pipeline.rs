//! The way of a kill through the modules: ring, decode, assemble, attribute, sinks.

mod count;
mod drain;
mod keep;
mod lines;
mod recovery;
mod release;
mod restore;

use std::path::PathBuf;
use std::time::Instant;

use crate::{
    attribution::tracker::Cluster,
    capture::{
        accounting::{
            checkpoint::Checkpoint,
            counters::Ledger,
            reconciler::{self, Baseline, Referee, distance, read_together},
            signal_loss::SignalWitness,
            tally::Books,
        },
        assemble::{Assembler, Killed, Machine},
        enrich::Complete,
        handover::{Takeover, resumed::Again},
        ring::Records,
    },
    cgroup::hierarchy::MemoryRoot,
    journal::{
        State,
        entry::{Based, Counted, Node},
    },
    kube::PodEvent,
    sinks::{
        Sinks,
        kube_events::Events,
        metrics::{NodeCounters, first_scrape::Deferral},
    },
};
pub use drain::Drained;
use lines::Lines;
use oom_probe_common::ledger::Count;
use recovery::Recovery;
use release::Release;
use tokio::sync::watch;

/// Records that the reader takes at a time: some milliseconds of work.
pub const BATCH: usize = 256;
/// Records that whoever wants to see everything takes at most: more kills than a ring of the
/// default size holds.
const RINGFUL: usize = 8192;

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
    /// Boot time, ns, up to which all records were read.
    read_until_ns: u64,
    /// The release of the rings that waits for the journal.
    releasing: Option<Release>,
    state: Option<State>,
    lines: Lines,
    again: Again,
    deferral: Deferral,
    /// Kills that are counted and whose records are still in the rings.
    in_ring: Vec<Counted>,
    /// What the state says of counts and rings.
    kept: Node,
    marks_base: Based,
    dropped_base: Based,
    /// Where cgroups' own counters are, if they are needed: nothing is kept while no daemon runs.
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
    /// Where cgroups' own counters are, if kills of a time without a daemon leave no other trace.
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
            referee: Referee::default(),
            baseline,
            proc_root,
            dropped_marks: checkpoint.dropped_marks,
            books: Books::new(checkpoint),
            exiting: 0,
            killed: Vec::new(),
            told_at: Vec::new(),
            captured: 0,
            read_until_ns: 0,
            releasing: None,
            state: None,
            lines: Lines::new(sinks.log.done()),
            again: Again::default(),
            deferral: Deferral::default(),
            in_ring: Vec::new(),
            kept: Node::default(),
            marks_base: Based::default(),
            dropped_base: Based::default(),
            counters,
            recovery: None,
            sinks,
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

    /// Whether rings of programs that were replaced are still to be read.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.records.has_left()
    }

    /// Whether [`Pipeline::drain`] has to be called again soon though no record comes.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.assembler.is_holding()
            || (self.records.unsettled() > 0 && self.releasing.is_none())
            || self.records.unread() > 0
            || self.records.has_left()
            || self.cluster.has_untold()
    }

    /// Lets parked kills go whose time is over.
    pub fn tick(&mut self, now: Instant) {
        let records = self.cluster.tick(now);
        self.hand_out(&records);
        let due = self.deferral.due(now);
        self.count_deferred(due);
        self.commit(now);
    }

    /// The metrics have been scraped.
    pub fn scraped(&mut self) {
        if self.cluster.knows_pods() {
            let waited = self.deferral.scraped();
            self.count_deferred(waited);
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

    /// Up to where the journal is written; none without a state.
    #[must_use]
    pub fn written(&self) -> Option<watch::Receiver<u64>> {
        Some(self.state.as_ref()?.written().clone())
    }

    /// Up to where it is to be written for everything to survive this process, where it is about to
    /// be: not on a disk that does not take it.
    #[must_use]
    pub fn unwritten(&self) -> Option<(watch::Receiver<u64>, u64)> {
        self.state.as_ref()?.unwritten(Instant::now())
    }

    /// How many lines of the log are written: the journal is to be told. None without a state.
    #[must_use]
    pub fn logged(&self) -> Option<watch::Receiver<u64>> {
        self.state.as_ref().map(|_| self.lines.done())
    }

    /// The journal has come further, or has failed to; or the log has.
    pub fn on_written(&mut self) {
        let now = Instant::now();
        self.release_on(now);
        self.commit(now);
    }

    /// Takes what is in the ring. What waits for more to be known is left to the next daemon where
    /// there is a state to leave it in, else it is let go.
    pub fn conclude(&mut self) {
        self.refresh();
        let now = Instant::now();
        // Before the state is written: it has how long a container waits for its next Event.
        self.cluster.tell(None, now);
        if !self.keep_all(now, true) {
            let records = self.cluster.conclude(now);
            self.hand_out(&records);
            self.cluster.tell(None, now);
        }
        self.release_on(now);
    }

    /// The Events that wait to be posted; there will be no more.
    pub fn take_events(&mut self) -> Option<Events> {
        self.cluster.take_events()
    }

    /// When [`Pipeline::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let deferred = self.deferral.next();
        let state = self.state.as_ref();
        let state = state.and_then(|state| state.next_tick(Instant::now()));
        [self.cluster.next_tick(), deferred, state]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes what is in the ring and brings metrics up to date with what the kernel counts.
    pub fn refresh(&mut self) -> Drained {
        let drained = self.drain(RINGFUL);
        self.complete.look_around(Instant::now());
        let vmstat = || reconciler::vmstat_oom_kills(&self.proc_root);
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
}
