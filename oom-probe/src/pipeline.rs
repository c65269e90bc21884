//! One kill's way: read, attribute, append to the journal, publish, release the ring.

mod backlog;
mod replay;
mod snapshot;

use std::time::{Duration, Instant};

use crate::{
    attribution::{change::Change, recovered::Recovered, tracker::Tracker},
    capture::{
        assemble::{Killed, Remembered},
        handover::resumed::Position,
        reader::{Batch, Captured, Reader},
    },
    journal::{
        Journal,
        entry::{Counted, Entry, KernelTotals},
    },
    kube::PodEvent,
    model::kill::Kill,
    sinks::{
        Sinks,
        kube_events::Events,
        metrics::{NodeCounters, first_scrape::FirstScrape},
    },
    sys::{allocator, clock::Now},
};
use backlog::Backlog;

/// Records that are taken at a time: what follows from so many is some 100 KiB of the journal.
pub const STEP: usize = 128;
/// Changes that are committed together, where many become known at once.
const TOGETHER: usize = 64;

/// What one kill passes, in its order.
pub struct Pipeline {
    reader: Reader,
    tracker: Tracker,
    journal: Journal,
    sinks: Sinks,
    backlog: Backlog,
    first_scrape: FirstScrape,
    recovered: Recovered,
    totals: KernelTotals,
    captured: u64,
}

/// What [`Pipeline::drain`] took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drained {
    /// Whether the rings were empty then.
    pub all: bool,
    /// Whether there is nothing more to take at the moment: they were empty, or what comes next is
    /// still being written.
    pub ended: bool,
    /// When the kernel made the first mark among it: boot time, ns.
    pub first_mark_ns: Option<u64>,
}

impl Pipeline {
    /// Puts the parts together. `recovered` finds kills that no hook has seen.
    #[must_use]
    pub fn new(reader: Reader, tracker: Tracker, sinks: Sinks, recovered: Recovered) -> Self {
        Self {
            reader,
            tracker,
            journal: Journal::new(sinks.log.done()),
            sinks,
            backlog: Backlog::default(),
            first_scrape: FirstScrape::default(),
            recovered,
            totals: KernelTotals::default(),
            captured: 0,
        }
    }

    /// Takes at most [`STEP`] of the records that wait, with all that follows from them: in a storm
    /// there is always one more, and others wait for this thread too. Those that nothing depends on
    /// any more are released once the journal has them.
    pub fn drain(&mut self, now: &Now) -> Drained {
        let mut batch = self.reader.read(STEP, now);
        for captured in std::mem::take(&mut batch.kills) {
            self.on_kill(captured, now);
        }
        self.count_batch(&batch);
        self.sinks.report(self.reader.under_way(), now);
        self.commit(now);
        self.release(now);
        if batch.all {
            self.recover(now);
        }
        Drained {
            all: batch.all,
            ended: batch.ended,
            first_mark_ns: batch.first_mark_ns,
        }
    }

    fn on_kill(&mut self, captured: Captured, now: &Now) {
        let Captured {
            killed,
            position,
            was_away,
        } = captured;
        self.captured += 1;
        self.recovered.see(&killed.kill);
        let metrics = &self.sinks.metrics;
        if !was_away {
            metrics.observe_capture(age(&killed.kill, now));
            return self.count(killed, position, now);
        }
        metrics.drained_kills.inc();
        match self.first_scrape.defer(killed) {
            Ok(kept) => self.journal.append_deferred(kept),
            Err(killed) => self.count(*killed, position, now),
        }
    }

    /// Counts a kill, and shows what is known of it.
    fn count(&mut self, killed: Killed, position: Position, now: &Now) {
        let Killed { kill, opens_event } = killed;
        let (limit, role) = (kill.limit, kill.role);
        let opened = opens_event.then_some(kill.time);
        let process = Remembered::of(&kill);
        let (scope, changes) = self.tracker.on_kill(kill, now);
        let counted = Counted {
            scope,
            limit,
            role,
            opened,
            process,
            ring: position.ring,
            read: position.read,
        };
        self.sinks.metrics.kill(&counted);
        self.journal.append(&Entry::Kill(counted));
        if self.journal.is_open() {
            self.backlog.add(counted);
        }
        // There are a few at most.
        for change in &changes {
            self.publish(change, now);
        }
    }

    /// What the records were, and the kills of which there is none.
    fn count_batch(&mut self, batch: &Batch) {
        let metrics = &self.sinks.metrics;
        metrics.records_received.inc_by(batch.received);
        metrics.records_rejected.inc_by(batch.rejected);
        metrics.exiting_marks.inc_by(batch.exiting);
        if let Some(unreadable) = &batch.unreadable {
            let kills = unreadable.kills;
            tracing::warn!(
                "{kills} kills are counted without a record: {}",
                unreadable.why
            );
            metrics.drained_kills.inc_by(unreadable.was_away);
            self.count_unknown(kills);
        }
        if batch.dropped > 0 {
            let kills = batch.dropped;
            tracing::warn!("the ring was full: {kills} kills are counted without a record");
            self.count_unknown(kills);
        }
    }

    /// A mark without a record is still a kill, for all that is known.
    fn count_unknown(&mut self, kills: u64) {
        self.captured += kills;
        self.sinks.metrics.unknown_kills(kills);
        self.journal.append(&Entry::Dropped(kills));
    }

    /// Shows one change, and keeps it.
    fn publish(&mut self, change: &Change, now: &Now) {
        let published = self.sinks.publish(change, now);
        self.journal.append_change(change, published);
    }

    /// The same where many become known at once. Not to be called while records are being taken:
    /// what is written down says that all are dealt with that were read.
    fn publish_all(&mut self, changes: &[Change], now: &Now) {
        for together in changes.chunks(TOGETHER) {
            for change in together {
                self.publish(change, now);
            }
            self.write_down(now);
        }
    }

    /// Counts what was missed, once the rings have been read: what is in them was not.
    fn recover(&mut self, now: &Now) {
        let Some(kills) = self.recovered.conclude(now.realtime) else {
            return;
        };
        let position = self.reader.released_position();
        for kill in kills {
            let opens_event = true;
            self.count(Killed { kill, opens_event }, position, now);
        }
        self.commit(now);
        self.snapshot_soon(now);
    }

    /// Has written down what happened, and a snapshot where it is time for one. To be called before
    /// the rings release what it came from.
    fn commit(&mut self, now: &Now) {
        self.write_down(now);
        if self.journal.wants_snapshot(now) {
            self.snapshot_soon(now);
        }
    }

    /// As [`Pipeline::commit`] in the middle of something: a snapshot would have all of what the
    /// journal has yet to tell.
    fn write_down(&mut self, now: &Now) {
        let windows = self.sinks.take_event_windows(now);
        let node = self.node();
        self.journal.commit(windows, node);
        self.backlog.forget_released(self.reader.rings());
    }

    /// Lets the kernel write over what nothing depends on any more, as soon as the journal has what
    /// followed from it.
    fn release(&mut self, now: &Now) {
        if self.reader.begin_release() {
            self.backlog.begin_release(self.journal.handed(), now);
        }
        let kept = self.reader.kept();
        let has_written = |number| self.journal.has_written(number);
        if self.backlog.ends_release(has_written, kept, now) {
            self.reader.release();
        }
    }

    /// The journal has come further, or has failed to; or the log has.
    pub fn on_written(&mut self, now: &Now) {
        self.release(now);
        if !self.backlog.is_releasing() {
            self.reader.settle_later();
            self.release(now);
        }
        self.commit(now);
    }

    /// Takes what the watch tells about pods.
    pub fn on_pods(&mut self, event: PodEvent, now: &Now) {
        let is_list = matches!(event, PodEvent::Synced { listed: true });
        let changes = self.tracker.on_pods(event, now);
        self.publish_all(&changes, now);
        if is_list {
            allocator::give_back();
        }
        self.commit(now);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: &Now) {
        let changes = self.tracker.tick(now);
        self.publish_all(&changes, now);
        self.sinks.tick(now);
        let due = self.first_scrape.due(now.instant);
        self.count_deferred(due, now);
        self.commit(now);
    }

    /// When [`Pipeline::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self, now: &Now) -> Option<Instant> {
        let ticks = [
            self.tracker.next_tick(),
            self.sinks.next_tick(),
            self.first_scrape.next(),
            self.journal.next_tick(now),
        ];
        ticks.into_iter().flatten().min()
    }

    /// The metrics have been scraped.
    pub fn scraped(&mut self, now: &Now) {
        if self.tracker.knows_pods() {
            let waited = self.first_scrape.scraped();
            self.count_deferred(waited, now);
            self.commit(now);
        }
    }

    /// Counts the kills that waited for a scrape.
    fn count_deferred(&mut self, waited: Vec<Killed>, now: &Now) {
        for (number, killed) in waited.into_iter().enumerate() {
            let position = self.reader.released_position();
            self.count(killed, position, now);
            if (number + 1).is_multiple_of(TOGETHER) {
                self.write_down(now);
            }
        }
    }

    /// Brings metrics up to date with what the kernel counts. `has_read_all` says that no kill
    /// waits in the rings.
    pub fn reconcile(&mut self, has_read_all: bool, now: &Now) {
        let counts = self.reader.reconcile(has_read_all, now);
        let KernelTotals { marks, dropped } = self.totals;
        self.sinks.metrics.set_node_counters(NodeCounters {
            kernel_marks: marks.with(counts.marks).total(),
            records_dropped: dropped.with(counts.dropped).total(),
            vmstat_oom_kills: counts.vmstat,
            unaccounted_kills: counts.unaccounted,
        });
    }

    /// Ends, once the rings have been drained. What waits for more to be known is left to the next
    /// daemon where there is a journal to leave it in, else it is let go. Returns the Events that
    /// wait to be posted.
    pub fn conclude(&mut self, now: &Now) -> Option<Events> {
        // Before the journal is written: it has how long a container waits for its next Event.
        self.sinks.report(None, now);
        if !self.keep_all(now, true) {
            let changes = self.tracker.conclude(now);
            self.publish_all(&changes, now);
            self.sinks.report(None, now);
        }
        self.on_written(now);
        self.sinks.events.take()
    }

    /// Where records go.
    #[must_use]
    pub fn sinks(&self) -> &Sinks {
        &self.sinks
    }

    /// What reads the rings.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What is kept.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Kills captured so far, dropped records included.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.captured
    }

    /// Whether [`Pipeline::drain`] has to be called again soon though no record comes.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.reader.is_holding() || self.sinks.has_unreported()
    }
}

impl Drained {
    /// The same with what the next step took.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            first_mark_ns: self.first_mark_ns.or(next.first_mark_ns),
            ..next
        }
    }

    /// How long the first mark had waited.
    #[must_use]
    pub fn waited(&self, now: &Now) -> Option<Duration> {
        let since = now.boottime_ns.saturating_sub(self.first_mark_ns?);
        Some(Duration::from_nanos(since))
    }
}

fn age(kill: &Kill, now: &Now) -> Duration {
    Duration::try_from(now.realtime.duration_since(kill.time)).unwrap_or_default()
}
