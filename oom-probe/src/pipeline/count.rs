//! Counting: what is known of a kill goes to the sinks, each kill once.

use std::time::{Duration, Instant};

use oom_probe_common::ledger::Count;

use super::{Pipeline, Place};
use crate::{
    attribution::tracker::Attributed,
    capture::{
        assemble::{Killed, Remembered},
        record::Reject,
        ring::RingState,
    },
    journal::entry::Counted,
    model::{
        kill::{Kill, Record},
        labels::{Limit, Role, Scope},
    },
};

/// Kills that are committed together, where many become known at once.
const TOGETHER: usize = 64;

impl Pipeline {
    pub(super) fn kill(&mut self, killed: Killed, place: Place) {
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

    /// Counts the kills that waited for a scrape.
    pub(super) fn count_deferred(&mut self, waited: Vec<Killed>) {
        for (number, killed) in waited.into_iter().enumerate() {
            let RingState { id, released, .. } = self.records.live().state();
            let place = Place {
                ring: id,
                read: released,
            };
            self.count(killed, place);
            if (number + 1).is_multiple_of(TOGETHER) {
                self.write_down();
            }
        }
    }

    pub(super) fn count(&mut self, killed: Killed, place: Place) {
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
        // There are two at most.
        for record in &records {
            self.keep_record(record);
        }
    }

    /// The kill itself is counted when it is seen; this is for what is known of it now. Not to be
    /// called while records of the ring are being taken: what is committed says that all are dealt
    /// with that were read.
    pub(super) fn hand_out(&mut self, records: &[Record]) {
        for together in records.chunks(TOGETHER) {
            for record in together {
                self.keep_record(record);
            }
            self.write_down();
        }
    }

    fn observe(&self, kill: &Kill) {
        let since = jiff::Timestamp::now().duration_since(kill.time);
        let since = Duration::try_from(since).unwrap_or_default();
        self.sinks.metrics.observe_capture(since);
    }

    /// What programs of another release have marked is a kill, for all that is known.
    pub(super) fn unreadable(&mut self, marks: &[(u64, Reject)]) {
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
    pub(super) fn drops(&mut self) {
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
