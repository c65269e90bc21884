//! Going on where an earlier daemon was: its snapshot and its journal, through the same modules.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use oom_probe_common::ledger::Count;
use prometheus_client::metrics::counter::Counter;

use super::{Pipeline, recovery::Recovery};
use crate::{
    attribution::outcome::Unsettled,
    capture::{
        assemble::{Killed, Remembered},
        handover::{
            Capture,
            resumed::{Again, is_read_again},
        },
        ring::RingState,
    },
    cgroup::oom_counters::{Readings, Seen},
    journal::{
        State,
        entry::{Counted, Entry, Node, Pending, Settled, StoredKilled, Unreadable, entries},
        files::{Found, Stored, Trouble},
        whole::Whole,
    },
    model::{
        kill::Kill,
        labels::{Limit, Role, Scope},
    },
    sinks::kube_events::state::Moment,
};

/// What is put together from all entries before it means something.
#[derive(Default)]
struct Gathered {
    node: Node,
    counted: Vec<Counted>,
    readings: Option<Readings>,
    /// Kills since these readings, by id.
    seen: HashMap<String, Seen>,
    /// Processes that were killed or marked in this boot, oldest first.
    remembered: Vec<Remembered>,
    /// Records whose lines are not known to be written, the oldest first.
    unlogged: VecDeque<Box<str>>,
    entries: usize,
}

impl Gathered {
    /// A record and what was parked before it are one kill.
    fn see(&mut self, kill: &Kill) {
        if let Some(seen) = Seen::of(kill) {
            self.seen.insert(kill.id.clone(), seen);
        }
    }
}

impl Pipeline {
    /// Takes up what was found, and keeps it in `state` from now on. To be called before the rings
    /// are read. `boot` is this boot's id.
    pub fn restore(&mut self, state: State, found: Found, boot: &str) {
        let at = Moment {
            now: Instant::now(),
            wall: Timestamp::now(),
        };
        let mut trouble = found.trouble;
        let is_this_boot = |file: &Stored| file.header.boot == boot;
        let same_boot = found.files.last().is_some_and(is_this_boot);
        let mut gathered = Gathered::default();
        for file in &found.files {
            let replayed = self.replay(file, at, &mut gathered);
            if !is_this_boot(file) {
                // In this boot the same ids, and times not yet come, are those of other processes.
                gathered.remembered.clear();
            }
            if let Err(why) = replayed {
                trouble = trouble.or(Some(Trouble::Content(why)));
                break;
            }
        }
        if !same_boot {
            self.cluster.all_died(at.now);
        }
        let entries = gathered.entries;
        if same_boot
            && self.takeover.capture == Capture::Began
            && let (Some(root), Some(before)) = (&self.counters, gathered.readings.take())
        {
            let seen = std::mem::take(&mut gathered.seen);
            self.recovery = Some(Recovery::begin(before, seen.into_values().collect(), root));
        }
        self.log_again(std::mem::take(&mut gathered.unlogged));
        self.go_on_counting(&gathered.node);
        self.go_on(gathered, same_boot);
        self.state = Some(state);
        let writable = self.keep_all(at.now, false);
        match &trouble {
            None => tracing::info!(
                "state: {} entries{}",
                entries,
                if same_boot { "" } else { " of an earlier boot" }
            ),
            Some(Trouble::Nothing) => {}
            Some(trouble) => tracing::warn!(
                "the state of earlier daemons is lost, or part of it: {trouble}; counting begins anew"
            ),
        }
        self.begin(trouble.is_none() && writable, at.now);
    }

    /// Begins without a state.
    pub fn begin_without_state(&mut self) {
        self.begin(false, Instant::now());
    }

    /// `whole` says that counters go on where they were.
    fn begin(&mut self, whole: bool, now: Instant) {
        let waited = self.takeover.capture == Capture::Continued || self.records.has_left_records();
        if waited && !whole {
            self.deferral.begin(now);
        }
        for killed in self.deferral.kills() {
            tracing::debug!("kill {} waits for a scrape", killed.kill.id);
        }
    }

    fn replay(
        &mut self,
        file: &Stored,
        at: Moment,
        gathered: &mut Gathered,
    ) -> Result<(), Unreadable> {
        let mut frames = file.frames()?;
        while let Some(frame) = frames.next()? {
            for entry in entries(frame)? {
                self.replay_entry(entry, at, gathered)?;
                gathered.entries += 1;
            }
        }
        Ok(())
    }

    fn replay_entry(
        &mut self,
        entry: Entry<'_>,
        at: Moment,
        gathered: &mut Gathered,
    ) -> Result<(), Unreadable> {
        let Moment { now, wall } = at;
        let metrics = &self.sinks.metrics;
        match entry {
            Entry::Kill(counted) => {
                let Counted {
                    scope,
                    limit,
                    role,
                    opened,
                    process,
                    ..
                } = counted;
                metrics.kills(scope, limit, role).inc();
                if let Some(time) = opened {
                    metrics.oom_event(limit, time);
                }
                self.deferral.remove(process.tgid, process.start_time_ns);
                gathered.counted.push(counted);
            }
            Entry::Record(stored) => {
                let json = stored.record.get();
                if stored.has_line {
                    gathered.unlogged.push_back(json.into());
                }
                self.sinks.history.restore(json).map_err(corrupt)?;
                let record = stored.restore().map_err(corrupt)?;
                metrics.attributions(record.attribution).inc();
                gathered.see(&record.kill);
                self.cluster.replay(record, now, wall);
            }
            Entry::Parked(kill) => {
                let Whole(kill) = *kill;
                gathered.see(&kill);
                self.cluster.restore_parked(kill, now);
            }
            Entry::Deferred(stored) => {
                let StoredKilled {
                    kill: Whole(kill),
                    opens_event,
                } = *stored;
                gathered.remembered.push(Remembered {
                    tgid: kill.key.tgid,
                    start_time_ns: kill.key.start_time_ns,
                    role: Some(kill.role),
                    at_ns: kill.boottime_ns,
                });
                self.deferral.begin(now);
                // There is room: they came from a ring.
                let _full = self.deferral.defer(Killed { kill, opens_event });
            }
            Entry::Dropped(kills) => {
                let unknown = metrics.kills(Scope::Unknown, Limit::Unknown, Role::Primary);
                unknown.inc_by(kills);
            }
            Entry::Settled(Settled { key, outcome }) => {
                self.cluster.replay_settled(&key, outcome, now);
            }
            Entry::Pod(pod) => self.cluster.restore_pod(&pod, now),
            Entry::Gone(uid, seconds) => {
                let since = now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now);
                self.cluster.restore_gone(&uid, since, now);
            }
            Entry::Node(node) => gathered.node = *node,
            Entry::Totals(totals) => metrics.restore(&totals),
            Entry::Container(stored) => self.cluster.containers().restore_container(stored, now),
            Entry::Workload(stored) => self.cluster.containers().restore_workload(stored, now),
            Entry::Seen(process) => gathered.remembered.push(process),
            Entry::InRing(counted) => gathered.counted.push(counted),
            Entry::Pending(pending) => {
                let Pending {
                    record,
                    kills,
                    last_victim,
                } = *pending;
                let kill = Box::new(record.restore().map_err(corrupt)?);
                let unsettled = Unsettled {
                    kill,
                    kills,
                    last_victim,
                };
                self.cluster.restore_unsettled(unsettled, now, wall);
            }
            Entry::Recent(key) => self.cluster.restore_recent(key, now),
            Entry::History(json) => self.sinks.history.restore(json.get()).map_err(corrupt)?,
            Entry::EventWindow(window) => self.cluster.restore_event_window(*window, at),
            Entry::Logged(lines) => {
                let lines = gathered.unlogged.len().min(lines as usize);
                gathered.unlogged.drain(..lines);
            }
            Entry::Unlogged(json) => gathered.unlogged.push_back(json.get().into()),
            Entry::Readings(readings) => gathered.readings = Some(readings),
            Entry::End => {}
        }
        Ok(())
    }

    /// Writes the lines that the last daemon may not have written.
    fn log_again(&mut self, unlogged: VecDeque<Box<str>>) {
        for json in unlogged {
            let line =
                serde_json::from_str(&json).and_then(|record| self.sinks.log.record(&record));
            match line {
                Ok(true) => self.lines.add(Bytes::from(json.into_boxed_bytes())),
                Ok(false) => {}
                Err(error) => tracing::warn!("a kill is not logged again: {error}"),
            }
        }
    }

    /// Counters that are not made of entries of their own.
    fn go_on_counting(&self, node: &Node) {
        let metrics = &self.sinks.metrics;
        for (counter, before) in [
            (&metrics.records_received, node.received),
            (&metrics.records_rejected, node.rejected),
            (&metrics.exiting_marks, node.exiting),
            (&metrics.drained_kills, node.drained),
            (&metrics.series_refused, node.refused),
        ] {
            go_on_from(counter, before);
        }
    }

    /// Goes on with the rings and the ledger, if they are those of the state.
    fn go_on(&mut self, gathered: Gathered, same_boot: bool) {
        let Gathered {
            node,
            counted,
            remembered,
            ..
        } = gathered;
        let rings: Vec<RingState> = self.records.states().collect();
        let marks = self.ledger.read().get(Count::Marks);
        let continued = same_boot
            && self.takeover.capture == Capture::Continued
            && rings.iter().any(|ring| node.has_ring(ring.id))
            && marks >= node.marks.now;
        let (in_ring, past): (Vec<_>, Vec<_>) = counted
            .into_iter()
            .partition(|kill| continued && is_read_again(kill, &rings));
        if same_boot {
            let past = past.into_iter().map(|kill| kill.process);
            for process in remembered.into_iter().chain(past) {
                self.assembler.remember_again(&process);
            }
        }
        if !continued {
            self.marks_base = node.marks.ended();
            self.dropped_base = node.dropped.ended();
            return;
        }
        self.dropped_marks = self.dropped_marks.max(node.dropped_marks);
        self.marks_base = node.marks;
        self.dropped_base = node.dropped;
        self.again = Again::new(node.rings, &in_ring);
        self.in_ring = in_ring;
    }
}

/// What replaying has counted was counted before: a pod that is taken up again has its series refused
/// again.
fn go_on_from(counter: &Counter, before: u64) {
    counter.inc_by(before.saturating_sub(counter.get()));
}

fn corrupt(_: serde_json::Error) -> Unreadable {
    Unreadable::Corrupt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_replay_counts_again_was_counted_before() {
        for (replayed, before, expected) in [(0, 5, 5), (2, 5, 5), (5, 5, 5), (7, 5, 7)] {
            let counter = Counter::default();
            counter.inc_by(replayed);
            go_on_from(&counter, before);
            assert_eq!(counter.get(), expected, "{replayed} of {before}");
        }
    }
}
