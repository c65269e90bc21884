//! What goes into the state: what happens, as it happens, and everything, now and then.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use oom_probe_common::ledger::Count;
use serde_json::value::RawValue;

use super::{Pipeline, recovery::Recovery};
use crate::{
    attribution::{outcome::Unsettled, tracker::Note},
    capture::{
        assemble::{Killed, Remembered},
        handover::resumed::is_read_again,
        ring::RingState,
    },
    cgroup::oom_counters::{self, Readings},
    journal::{
        self,
        entry::{Counted, Entry, Node, Pending, Settled, StoredKilled, StoredRecord},
        files::Snapshot,
        whole::{Hidden, Whole},
    },
    model::kill::Record,
    sinks::{Told, history::Query, kube_events::state::Moment},
};

impl Pipeline {
    /// Notes a kill that is counted now.
    pub(super) fn keep_kill(&mut self, counted: Counted) {
        if let Some(state) = &mut self.state {
            state.add(&Entry::Kill(counted));
            self.in_ring.push(counted);
        }
    }

    /// Notes a record, and hands it to the sinks.
    pub(super) fn keep_record(&mut self, record: &Record) {
        let told = self.sinks.record(record);
        let (Some(Told { json, has_line }), Some(state)) = (told, &mut self.state) else {
            return;
        };
        if let Ok(json) = serde_json::from_slice::<&RawValue>(&json) {
            state.add(&Entry::Record(StoredRecord {
                record: json,
                hidden: Hidden::of(&record.kill),
                has_line,
            }));
        }
        if has_line {
            self.lines.add(json);
        }
    }

    /// Notes a kill that waits for a scrape.
    pub(super) fn keep_deferred(&mut self) {
        if let Some(state) = &mut self.state
            && let Some(killed) = self.deferral.kills().last()
        {
            state.add(&Entry::Deferred(Box::new(stored(killed))));
        }
    }

    /// Notes kills whose records were dropped.
    pub(super) fn keep_dropped(&mut self, kills: u64) {
        if let Some(state) = &mut self.state {
            state.add(&Entry::Dropped(kills));
        }
    }

    /// Has written down what happened. To be called before the rings release what it came from.
    pub(super) fn commit(&mut self, now: Instant) {
        self.write_down();
        if let Some(mut state) = self.state.take() {
            if state.wants_snapshot(now) {
                state.snapshot(self.snapshot(now, false), now);
            }
            self.state = Some(state);
        }
    }

    /// As [`Pipeline::commit`] in the middle of something: a snapshot would have all of what the
    /// journal has yet to tell.
    pub(super) fn write_down(&mut self) {
        let notes = self.cluster.take_notes();
        let windows = self.cluster.take_event_windows(moment());
        let Some(mut state) = self.state.take() else {
            return;
        };
        let is_parked = |note: &&Note| matches!(note, Note::Parked);
        let parked = notes.iter().filter(is_parked).count();
        let earlier = self.cluster.parked().count().saturating_sub(parked);
        for kill in self.cluster.parked().skip(earlier) {
            state.add(&Entry::Parked(Box::new(Whole(kill.clone()))));
        }
        for note in notes {
            match note {
                Note::Parked => {}
                Note::Settled(key, outcome) => {
                    state.add(&Entry::Settled(Settled { key, outcome }));
                }
                Note::Pod(pod) => state.add(&Entry::Pod(pod)),
                Note::Gone(uid) => state.add(&Entry::Gone(uid, 0)),
            }
        }
        for window in windows {
            state.add(&Entry::EventWindow(Box::new(window)));
        }
        let logged = self.lines.take_done();
        if logged > 0 {
            state.add(&Entry::Logged(logged));
        }
        let node = self.node();
        // What the rings have released they say themselves.
        if state.is_pending() || !node.has_read_as(&self.kept) {
            self.in_ring.retain(|kill| is_read_again(kill, &node.rings));
            if node != self.kept {
                self.kept.clone_from(&node);
                state.add(&Entry::Node(Box::new(node)));
            }
            state.commit();
        }
        self.state = Some(state);
    }

    /// Writes everything down; true if it can be read again.
    pub(super) fn keep_all(&mut self, now: Instant, sync: bool) -> bool {
        self.lines.take_done();
        self.cluster.take_event_windows(moment());
        let Some(mut state) = self.state.take() else {
            return false;
        };
        // The snapshot has them.
        self.cluster.take_notes();
        let written = state.snapshot_now(self.snapshot(now, sync), now);
        self.state = Some(state);
        written
    }

    fn node(&self) -> Node {
        let metrics = &self.sinks.metrics;
        let ledger = self.ledger.read();
        Node {
            rings: self.records.states().collect(),
            received: metrics.records_received.get(),
            rejected: metrics.records_rejected.get(),
            exiting: metrics.exiting_marks.get(),
            drained: metrics.drained_kills.get(),
            refused: metrics.series_refused.get(),
            dropped_marks: self.dropped_marks,
            marks: self.marks_base.with(ledger.get(Count::Marks)),
            dropped: self.dropped_base.with(ledger.dropped()),
        }
    }

    fn snapshot(&self, now: Instant, sync: bool) -> Snapshot {
        let mut frames = Vec::new();
        let mut push = |entry: Entry<'_>| journal::push(&mut frames, &[entry]);
        let node = self.node();
        let rings = node.rings.clone();
        push(Entry::Node(Box::new(node)));
        push(Entry::Totals(self.sinks.metrics.totals()));
        let (containers, workloads) = self.cluster.containers().export(now);
        for container in containers {
            push(Entry::Container(container));
        }
        for workload in workloads {
            push(Entry::Workload(workload));
        }
        for process in self.assembler.remembered() {
            if !self.is_in_ring(&process, &rings) {
                push(Entry::Seen(process));
            }
        }
        for kill in &self.in_ring {
            push(Entry::InRing(*kill));
        }
        for kill in self.cluster.parked() {
            push(Entry::Parked(Box::new(Whole(kill.clone()))));
        }
        for killed in self.deferral.kills() {
            push(Entry::Deferred(Box::new(stored(killed))));
        }
        for unsettled in self.cluster.outcomes().unsettled() {
            push_pending(&mut frames, &unsettled);
        }
        for key in self.cluster.outcomes().recent() {
            journal::push(&mut frames, &[Entry::Recent(key.clone())]);
        }
        for window in self.cluster.event_windows(moment()) {
            journal::push(&mut frames, &[Entry::EventWindow(Box::new(window))]);
        }
        for json in self.lines.waiting() {
            if let Ok(json) = serde_json::from_slice(json) {
                journal::push(&mut frames, &[Entry::Unlogged(json)]);
            }
        }
        let gone = self.cluster.gone_pods().map(|(pod, since)| {
            let age = now.saturating_duration_since(since);
            (Arc::clone(pod), age.as_secs())
        });
        Snapshot {
            frames,
            pods: self.cluster.pods().cloned().collect(),
            gone: gone.collect(),
            history: self.history(),
            readings: self.readings(),
            sync,
        }
    }

    /// What the cgroups' counters say, read once everything else is written; or what they said
    /// before, as long as that is being compared.
    fn readings(&self) -> Option<Box<dyn FnOnce() -> Readings + Send>> {
        let root = self.counters.clone()?;
        match self.recovery.as_ref().map(Recovery::readings) {
            Some(before) => Some(Box::new(move || before)),
            None => Some(Box::new(move || oom_counters::readings(&root))),
        }
    }

    /// Writes a snapshot as soon as the disk takes it.
    pub(super) fn snapshot_soon(&mut self) {
        if let Some(mut state) = self.state.take() {
            let now = Instant::now();
            state.snapshot(self.snapshot(now, false), now);
            self.state = Some(state);
        }
    }

    fn history(&self) -> Vec<Bytes> {
        self.sinks.history.select(&Query::default())
    }

    /// Whether a process was killed, or seen to die, by a record that is to be read again.
    fn is_in_ring(&self, process: &Remembered, rings: &[RingState]) -> bool {
        self.in_ring.iter().any(|kill| {
            is_read_again(kill, rings)
                && kill.process.tgid == process.tgid
                && (process.role.is_none() || kill.process.start_time_ns == process.start_time_ns)
        })
    }
}

fn moment() -> Moment {
    Moment {
        now: Instant::now(),
        wall: Timestamp::now(),
    }
}

fn stored(killed: &Killed) -> StoredKilled {
    StoredKilled {
        kill: Whole(killed.kill.clone()),
        opens_event: killed.opens_event,
    }
}

fn push_pending(frames: &mut Vec<u8>, unsettled: &Unsettled) {
    let Unsettled {
        kill,
        kills,
        last_victim,
    } = unsettled;
    let Ok(record) = serde_json::value::to_raw_value(&**kill) else {
        return;
    };
    let pending = Pending {
        record: StoredRecord {
            record: &record,
            hidden: Hidden::of(&kill.kill),
            has_line: false,
        },
        kills: *kills,
        last_victim: *last_victim,
    };
    journal::push(frames, &[Entry::Pending(Box::new(pending))]);
}
