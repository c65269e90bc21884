//! One scenario's view of the daemon: what came in since it began.

use std::thread;
use std::time::Instant;

use crate::{
    books::{self, Allowed},
    kernel_log::KernelLog,
    metrics::Metrics,
    wait::{PATIENCE, PAUSE},
    world::World,
};
use capture::model::kill::Record;

/// What was known at a moment.
#[derive(Clone)]
pub(crate) struct Snapshot {
    /// Id of the newest kill.
    last: Option<String>,
    pub(crate) metrics: Metrics,
}

/// A scenario under way.
pub(crate) struct Case<'w> {
    pub(crate) world: &'w World,
    before: Snapshot,
    pub(crate) log: KernelLog,
}

impl<'w> Case<'w> {
    /// From here on every kill counts.
    pub(crate) fn begin(world: &'w World) -> Self {
        let (kills, metrics) = together(world, None);
        let last = kills.last().map(|record| record.kill.id.clone());
        Self {
            world,
            before: Snapshot { last, metrics },
            log: KernelLog::from_now(),
        }
    }

    /// The kills of this scenario, once that many are there: not one more, and the books balance.
    pub(crate) fn kills(&mut self, wanted: usize) -> Vec<Record> {
        self.kills_allowing(wanted, &Allowed::default())
    }

    /// As [`Self::kills`], with what the kernel's counters may show besides.
    pub(crate) fn kills_allowing(&mut self, wanted: usize, allowed: &Allowed) -> Vec<Record> {
        let allowed = &self.allowed_here(allowed);
        let deadline = Instant::now() + PATIENCE;
        while self.ours().len() < wanted && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
        self.log.read();
        loop {
            let (kills, metrics) = together(self.world, self.before.last.as_deref());
            let ours: Vec<Record> = kills
                .iter()
                .filter(|kill| self.world.is_ours(kill))
                .cloned()
                .collect();
            if ours.len() != wanted {
                let counted = books::counted(&self.before.metrics, &metrics);
                let told = shown(&ours);
                panic!(
                    "{} kills instead of {wanted}; {counted}; told:\n{told}",
                    ours.len()
                );
            }
            match books::check(&kills, &self.before.metrics, &metrics, allowed) {
                Ok(()) => return ours,
                // A kill of someone else on this machine may be under way.
                Err(why) => assert!(Instant::now() < deadline, "{why}; kills: {}", shown(&kills)),
            }
            thread::sleep(PAUSE);
        }
    }

    /// Another suite may run on this kernel at the same time. Its kills have records, and count on both
    /// sides; a mark of a task that was dying anyway has none that would tell whose it was.
    fn allowed_here(&self, allowed: &Allowed) -> Allowed {
        let of_others = if self.is_alone() { 0 } else { u64::MAX };
        Allowed {
            exiting: allowed.exiting.max(of_others),
            ..*allowed
        }
    }

    /// Whether whatever the kernel counts is this scenario's own.
    pub(crate) fn is_alone(&self) -> bool {
        self.world.vm.is_some()
    }

    /// How much a counter without labels has grown.
    pub(crate) fn growth(&self, name: &str) -> u64 {
        self.world.daemon.metrics().value(name) - self.before.metrics.value(name)
    }

    fn all(&self) -> Vec<Record> {
        self.world.daemon.kills(self.before.last.as_deref())
    }

    fn ours(&self) -> Vec<Record> {
        let mut all = self.all();
        all.retain(|kill| self.world.is_ours(kill));
        all
    }
}

/// Kills after that one and metrics that belong together: no mark came between.
fn together(world: &World, after: Option<&str>) -> (Vec<Record>, Metrics) {
    let marks = |metrics: &Metrics| metrics.value("oom_probe_kernel_marks_total");
    loop {
        let before = world.daemon.metrics();
        let kills = world.daemon.kills(after);
        let metrics = world.daemon.metrics();
        if marks(&before) == marks(&metrics) {
            return (kills, metrics);
        }
    }
}

/// Records for a message.
pub(crate) fn shown(records: &[Record]) -> String {
    records
        .iter()
        .map(|record| serde_json::to_string(record).unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}
