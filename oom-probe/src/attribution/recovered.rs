//! Kills of a time in which nothing was hooked, from the cgroups' own counters.

use jiff::Timestamp;

use crate::{
    cgroup::{
        hierarchy::MemoryRoot,
        oom_counters::{self, Counters, Missed, Now, Readings, Seen},
        path,
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
#[derive(Debug)]
pub struct Recovered {
    /// Where cgroups' own counters are, if they are needed: nothing is kept while no daemon runs.
    root: Option<MemoryRoot>,
    node: String,
    boot: String,
    comparison: Option<Comparison>,
}

#[derive(Debug)]
struct Comparison {
    before: Readings,
    now: Now,
    seen: Vec<Seen>,
}

impl Recovered {
    /// On the node of that name, in the boot with that id. `root` is where the counters are, if
    /// kills of a time without a daemon leave no other trace.
    #[must_use]
    pub fn new(root: Option<MemoryRoot>, node: String, boot: String) -> Self {
        Self {
            root,
            node,
            boot,
            comparison: None,
        }
    }

    /// Reads the counters. `seen` are the kills that were counted since `before`.
    pub fn begin(&mut self, before: Readings, seen: impl IntoIterator<Item = Seen>) {
        self.comparison = self.root.as_ref().map(|root| Comparison {
            before,
            now: oom_counters::read(root),
            seen: seen.into_iter().collect(),
        });
    }

    /// A kill that this daemon has seen: it may have been counted before the counters were read.
    pub fn see(&mut self, kill: &Kill) {
        if let Some(comparison) = &mut self.comparison {
            comparison.seen.extend(Seen::of(kill));
        }
    }

    /// What the counters say, to be read once everything else is written; or what they said before,
    /// as long as that is being compared.
    #[must_use]
    pub fn readings(&self) -> Option<Box<dyn FnOnce() -> Readings + Send>> {
        let root = self.root.clone()?;
        match &self.comparison {
            Some(Comparison { before, now, seen }) => {
                let before = before.with(seen, now);
                Some(Box::new(move || before))
            }
            None => Some(Box::new(move || oom_counters::readings(&root))),
        }
    }

    /// The kills that were missed. To be called once the rings have been read: what is in them was
    /// not missed. None where nothing was compared.
    pub fn conclude(&mut self, time: Timestamp) -> Option<Vec<Kill>> {
        let Comparison { before, now, seen } = self.comparison.take()?;
        let root = self.root.clone()?;
        let mut total = 0;
        let mut recovered = Vec::new();
        for Missed { kills, counters } in before.missed(&seen, now) {
            total += kills;
            let numbers = 0..kills.min(MAX_TOLD);
            recovered.extend(numbers.map(|number| self.kill(&counters, &root, time, number)));
        }
        if total > 0 {
            tracing::warn!(
                "{total} kills happened while nothing was hooked, by the cgroups' own counters: \
                 without a bpffs nothing more is known of them"
            );
        }
        Some(recovered)
    }

    /// A kill of which nothing is known but the cgroup.
    fn kill(&self, counters: &Counters, root: &MemoryRoot, time: Timestamp, number: u64) -> Kill {
        let at_ns = counters.reading.at_ns;
        let boot = &self.boot;
        let cgroup_ids = counters.ids(root);
        Kill {
            id: format!("{boot}-{at_ns}-0-{number}"),
            time,
            node: self.node.clone(),
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
            identity: path::parse(counters.names.iter().map(Vec::as_slice)),
            cgroup_ids,
            node_root_level: None,
        }
    }
}
