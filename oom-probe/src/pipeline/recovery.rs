//! Kills of a time in which nothing was hooked, from the cgroups' own counters.

use std::time::Instant;

use jiff::Timestamp;

use super::{Pipeline, Place};
use crate::{
    capture::{assemble::Killed, ring::RingState},
    cgroup::{
        hierarchy::MemoryRoot,
        oom_counters::{self, Counters, Missed, Now, Readings, Seen},
        path::Identity,
    },
    model::{
        kill::{Cgroup, Kill, KillId, Victim},
        labels::{Limit, Role},
    },
};

/// More than one cgroup's counters can have missed, by all likelihood: what lies beyond is told
/// as a number.
const MAX_TOLD: u64 = 1000;

/// Finds them: what the counters said then, what they say now, and what was seen in between.
pub(super) struct Recovery {
    before: Readings,
    now: Now,
    seen: Vec<Seen>,
}

impl Recovery {
    /// Reads the counters. `seen` are the kills that were counted since `before`.
    pub(super) fn begin(before: Readings, seen: Vec<Seen>, root: &MemoryRoot) -> Self {
        Self {
            before,
            now: oom_counters::read(root),
            seen,
        }
    }

    /// A kill that this daemon has seen: it may have been counted before the counters were read.
    pub(super) fn see(&mut self, kill: &Kill) {
        self.seen.extend(Seen::of(kill));
    }

    /// What the state has to go on saying until it is over.
    pub(super) fn readings(&self) -> Readings {
        self.before.with(&self.seen, &self.now)
    }

    fn missed(self) -> Vec<Missed> {
        let Self { before, now, seen } = self;
        before.missed(&seen, now)
    }
}

impl Pipeline {
    /// Counts what was missed, once the ring has been read: what is in it was not.
    pub(super) fn recover(&mut self) {
        let Some(recovery) = self.recovery.take() else {
            return;
        };
        let Some(root) = self.counters.clone() else {
            return;
        };
        let time = Timestamp::now();
        let mut total = 0;
        for Missed { kills, counters } in recovery.missed() {
            total += kills;
            for number in 0..kills.min(MAX_TOLD) {
                let kill = self.missed_kill(&counters, &root, time, number);
                let RingState { id, released, .. } = self.records.live().state();
                let place = Place {
                    ring: id,
                    read: released,
                };
                let killed = Killed {
                    kill,
                    opens_event: true,
                };
                self.count(killed, place);
            }
        }
        if total > 0 {
            tracing::warn!(
                "{total} kills happened while nothing was hooked, by the cgroups' own counters: \
                 without a bpffs nothing more is known of them"
            );
        }
        self.commit(Instant::now());
        self.snapshot_soon();
    }

    /// A kill of which nothing is known but the cgroup.
    fn missed_kill(
        &self,
        counters: &Counters,
        root: &MemoryRoot,
        time: Timestamp,
        number: u64,
    ) -> Kill {
        let at_ns = counters.reading.at_ns;
        let boot = &self.boot;
        let cgroup_ids = counters.ids(root);
        Kill {
            id: format!("{boot}-{at_ns}-0-{number}"),
            time,
            node: self.node_name.clone(),
            event: format!("{boot}-{at_ns}-0-{number}"),
            role: Role::Primary,
            limit: Limit::Unknown,
            limit_source: None,
            cause: None,
            constraint: None,
            victim: Victim::default(),
            trigger: None,
            cgroup: Some(Cgroup {
                id: cgroup_ids.first().copied().unwrap_or(0),
                path: Some(counters.path()),
                version: Some(root.hierarchy.memory_version()),
                usage_bytes: None,
                limit_bytes: None,
            }),
            domain: None,
            points: None,
            truncated: false,
            from_proc: false,
            boottime_ns: at_ns,
            key: KillId {
                tgid: 0,
                start_time_ns: at_ns + number,
            },
            identity: Identity::parse(counters.names.iter().map(Vec::as_slice)),
            cgroup_ids,
            node_root_level: None,
        }
    }
}
