//! A snapshot: everything that there is to be known, of each part.

use std::sync::Arc;

use super::Pipeline;
use crate::{
    attribution::outcome::Unsettled,
    journal::{
        entry::{Entry, Node, StoredRecord},
        snapshot::Snapshot,
        store,
        whole::{Hidden, Whole},
    },
    sinks::history::Query,
    sys::clock::Now,
};

impl Pipeline {
    /// Counts that only grow, and how far the rings have been read.
    pub(super) fn node(&self) -> Node {
        let metrics = &self.sinks.metrics;
        let (marks, dropped) = self.reader.marks_and_dropped();
        Node {
            rings: self.reader.rings().collect(),
            received: metrics.records_received.get(),
            rejected: metrics.records_rejected.get(),
            exiting: metrics.exiting_marks.get(),
            drained: metrics.drained_kills.get(),
            refused: metrics.series_refused.get(),
            dropped_marks: self.reader.dropped_marks(),
            marks: self.totals.marks.with(marks),
            dropped: self.totals.dropped.with(dropped),
        }
    }

    /// Writes everything down; true if it can be read again.
    pub(super) fn keep_all(&mut self, now: &Now, sync: bool) -> bool {
        // The snapshot has them all.
        self.sinks.take_event_windows(now);
        if !self.journal.is_open() {
            return false;
        }
        let snapshot = self.snapshot(now, sync);
        self.journal.snapshot_now(snapshot, now)
    }

    /// Has a snapshot written as soon as the disk takes it.
    pub(super) fn snapshot_soon(&mut self, now: &Now) {
        let snapshot = self.snapshot(now, false);
        self.journal.snapshot(snapshot, now);
    }

    fn snapshot(&mut self, now: &Now, sync: bool) -> Snapshot {
        let mut frames = Vec::new();
        let mut push = |entry: Entry<'_>| store::push(&mut frames, &[entry]);
        let node = self.node();
        let rings = node.rings.clone();
        push(Entry::Node(Box::new(node)));
        push(Entry::Totals(self.sinks.metrics.totals()));
        let (containers, workloads) = self.sinks.containers.export(now.instant);
        containers
            .into_iter()
            .map(Entry::Container)
            .for_each(&mut push);
        workloads
            .into_iter()
            .map(Entry::Workload)
            .for_each(&mut push);
        let remembered = self.reader.remembered();
        let of_the_past = remembered.filter(|process| !self.backlog.has(process, &rings));
        of_the_past.map(Entry::Seen).for_each(&mut push);
        for kill in self.backlog.kills() {
            push(Entry::InRing(*kill));
        }
        for kill in self.tracker.pending() {
            push(Entry::Parked(Box::new(Whole(kill.clone()))));
        }
        for killed in self.first_scrape.kills() {
            push(Entry::deferred(killed));
        }
        for unsettled in self.tracker.outcomes().unsettled() {
            push_pending(&mut push, &unsettled);
        }
        for key in self.tracker.outcomes().recent() {
            push(Entry::Recent(key.clone()));
        }
        for window in self.sinks.event_windows(now) {
            push(Entry::EventWindow(Box::new(window)));
        }
        for json in self.journal.unlogged() {
            if let Ok(json) = serde_json::from_slice(json) {
                push(Entry::Unlogged(json));
            }
        }
        let gone = self.tracker.gone_pods().map(|(pod, since)| {
            let age = now.instant.saturating_duration_since(since);
            (Arc::clone(pod), age.as_secs())
        });
        Snapshot {
            frames,
            pods: self.tracker.pods().cloned().collect(),
            gone: gone.collect(),
            history: self.sinks.history.select(&Query::default()),
            readings: self.recovered.readings(),
            sync,
        }
    }
}

fn push_pending(push: &mut impl FnMut(Entry<'_>), unsettled: &Unsettled) {
    let Unsettled {
        kill,
        kills,
        last_victim,
    } = unsettled;
    let Ok(record) = serde_json::value::to_raw_value(&**kill) else {
        return;
    };
    push(Entry::Pending {
        record: Box::new(StoredRecord {
            record: &record,
            hidden: Hidden::of(&kill.kill),
            has_line: false,
        }),
        kills: *kills,
        last_victim: *last_victim,
    });
}
