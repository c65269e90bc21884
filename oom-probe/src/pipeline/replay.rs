//! Going on where an earlier daemon was: its snapshot and its journal, through the same modules.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;

use super::Pipeline;
use crate::{
    attribution::outcome::Unsettled,
    journal::{
        entry::{Counted, Entry, KernelTotals, Node, Unreadable, entries},
        files::{Found, Stored, Trouble},
        store::Store,
        whole::Whole,
    },
};
use capture::{
    assemble::{Killed, Remembered},
    cgroup::oom_counters::{Readings, Seen},
    handover::resumed::Resume,
    model::kill::Kill,
    ring::RingState,
    sys::clock::Now,
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
    /// Takes up what was found, and keeps it in `store` from now on. To be called before the rings
    /// are read. `boot` is this boot's id.
    pub fn restore(&mut self, store: Store, found: Found, boot: &str, now: &Now) {
        let mut trouble = found.trouble;
        let is_this_boot = |file: &Stored| file.header.boot == boot;
        let same_boot = found.files.last().is_some_and(is_this_boot);
        let mut gathered = Gathered::default();
        for file in &found.files {
            let replayed = self.replay(file, now, &mut gathered);
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
            for change in self.tracker.all_died(now) {
                self.sinks.publish(&change, now);
            }
        }
        let entries = gathered.entries;
        if same_boot
            && !self.reader.has_continued()
            && let Some(before) = gathered.readings.take()
        {
            let seen = std::mem::take(&mut gathered.seen);
            self.recovered.begin(before, seen.into_values());
        }
        self.log_again(std::mem::take(&mut gathered.unlogged));
        self.go_on_counting(&gathered.node);
        self.go_on(gathered, same_boot);
        self.journal.open(store);
        let writable = self.keep_all(now, false);
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
        self.begin(trouble.is_none() && writable, now);
    }

    /// Begins without a state.
    pub fn begin_without_state(&mut self, now: &Now) {
        self.begin(false, now);
    }

    /// `whole` says that counters go on where they were.
    fn begin(&mut self, whole: bool, now: &Now) {
        if self.reader.found_records() && !whole {
            self.first_scrape.begin(now.instant);
        }
        for killed in self.first_scrape.kills() {
            tracing::debug!("kill {} waits for a scrape", killed.kill.id);
        }
    }

    fn replay(
        &mut self,
        file: &Stored,
        now: &Now,
        gathered: &mut Gathered,
    ) -> Result<(), Unreadable> {
        let mut frames = file.frames()?;
        while let Some(frame) = frames.next()? {
            for entry in entries(frame)? {
                self.replay_entry(entry, now, gathered)?;
                gathered.entries += 1;
            }
        }
        Ok(())
    }

    fn replay_entry(
        &mut self,
        entry: Entry<'_>,
        now: &Now,
        gathered: &mut Gathered,
    ) -> Result<(), Unreadable> {
        let (sinks, tracker) = (&mut self.sinks, &mut self.tracker);
        let mut changes = Vec::new();
        match entry {
            Entry::Kill(counted) => {
                sinks.metrics.kill(&counted);
                self.first_scrape.remove(&counted.process);
                gathered.counted.push(counted);
            }
            Entry::Record(stored) => {
                let json = stored.record.get();
                if stored.has_line {
                    gathered.unlogged.push_back(json.into());
                }
                sinks.history.restore(json).map_err(corrupt)?;
                let record = stored.restore().map_err(corrupt)?;
                gathered.see(&record.kill);
                changes = tracker.replay(record, now);
            }
            Entry::Parked(kill) => {
                let Whole(kill) = *kill;
                gathered.see(&kill);
                tracker.restore_pending(kill, now);
            }
            Entry::Deferred { kill, opens_event } => {
                let Whole(kill) = *kill;
                gathered.remembered.push(Remembered::of(&kill));
                self.first_scrape.begin(now.instant);
                // There is room: they came from a ring.
                let _full = self.first_scrape.defer(Killed { kill, opens_event });
            }
            Entry::Dropped(kills) => sinks.metrics.unknown_kills(kills),
            Entry::Settled { key, outcome } => {
                changes.extend(tracker.replay_settled(&key, outcome, now));
            }
            Entry::Pod(pod) => changes.extend(tracker.restore_pod(pod)),
            Entry::Gone(uid, seconds) => {
                let age = Duration::from_secs(seconds);
                let since = now.instant.checked_sub(age).unwrap_or(now.instant);
                changes.extend(tracker.restore_gone(&uid, since));
            }
            Entry::Node(node) => gathered.node = *node,
            Entry::Totals(totals) => sinks.metrics.restore(&totals),
            Entry::Container(stored) => sinks.containers.restore_container(stored, now.instant),
            Entry::Workload(stored) => sinks.containers.restore_workload(stored, now.instant),
            Entry::Seen(process) => gathered.remembered.push(process),
            Entry::InRing(counted) => gathered.counted.push(counted),
            Entry::Pending {
                record,
                kills,
                last_victim,
            } => {
                let kill = Box::new(record.restore().map_err(corrupt)?);
                let unsettled = Unsettled {
                    kill,
                    kills,
                    last_victim,
                };
                tracker.restore_unsettled(unsettled, now);
            }
            Entry::Recent(key) => tracker.restore_recent(key, now),
            Entry::History(json) => sinks.history.restore(json.get()).map_err(corrupt)?,
            Entry::EventWindow(window) => {
                sinks.restore_event_window(*window, now, |kill| tracker.identify(kill));
            }
            Entry::Logged(lines) => {
                let lines = gathered.unlogged.len().min(lines as usize);
                gathered.unlogged.drain(..lines);
            }
            Entry::Unlogged(json) => gathered.unlogged.push_back(json.get().into()),
            Entry::Readings(readings) => gathered.readings = Some(readings),
            Entry::End => {}
        }
        for change in &changes {
            sinks.count(change, now);
        }
        Ok(())
    }

    /// Writes the lines that the last daemon may not have written.
    fn log_again(&mut self, unlogged: VecDeque<Box<str>>) {
        for json in unlogged {
            let line =
                serde_json::from_str(&json).and_then(|record| self.sinks.log.record(&record));
            match line {
                Ok(true) => self
                    .journal
                    .line_again(Bytes::from(json.into_boxed_bytes())),
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

    /// Goes on with the rings and the kernel's counts, if they are those of the state.
    fn go_on(&mut self, gathered: Gathered, same_boot: bool) {
        let Gathered {
            node,
            counted,
            remembered,
            ..
        } = gathered;
        let rings: Vec<RingState> = self.reader.rings().collect();
        let (marks, _) = self.reader.marks_and_dropped();
        let continued = same_boot
            && self.reader.has_continued()
            && rings.iter().any(|ring| node.has_ring(ring.id))
            && marks >= node.marks.now;
        let (in_ring, past): (Vec<_>, Vec<_>) = counted
            .into_iter()
            .partition(|kill| continued && kill.position().is_in(&rings));
        if same_boot {
            let past = past.into_iter().map(|kill| kill.process);
            self.reader.remember(remembered.into_iter().chain(past));
        }
        if !continued {
            self.totals = KernelTotals {
                marks: node.marks.ended(),
                dropped: node.dropped.ended(),
            };
            return;
        }
        self.totals = KernelTotals {
            marks: node.marks,
            dropped: node.dropped,
        };
        let counted = in_ring.iter().map(|kill| kill.process.kill_id());
        self.reader.resume(Resume {
            counted: counted.collect(),
            rings: node.rings,
            dropped_marks: node.dropped_marks,
        });
        self.backlog.restore(in_ring);
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
