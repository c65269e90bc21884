//! The books: what the daemon counts, what it tells and what the kernel counts have to agree.

use std::collections::{BTreeMap, HashSet};

use crate::metrics::Metrics;
use capture::model::{kill::Record, labels::Role};

/// How far the kernel's counters may go beyond the kills told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed {
    /// Victims that /proc/vmstat may count again: a pass over a group sees its first victim twice.
    pub(crate) repeats: u64,
    /// Marks of tasks that were dying anyway.
    pub(crate) exiting: u64,
    /// Marks of processes that were marked already, through another thread or for their group.
    pub(crate) marked_again: u64,
}

/// What the daemon counted between two scrapes, for a message.
pub(crate) fn counted(before: &Metrics, after: &Metrics) -> String {
    let names = [
        "oom_probe_kernel_marks_total",
        "oom_probe_exiting_marks_total",
        "oom_probe_records_received_total",
        "oom_probe_records_dropped_total",
        "oom_probe_records_rejected_total",
        "oom_probe_vmstat_oom_kills_total",
        "oom_probe_unaccounted_kills",
    ];
    let growth = |name: &str| format!("{name} +{}", after.value(name) - before.value(name));
    names.map(growth).join(", ")
}

/// Holds everything that happened between two scrapes against the kills told.
pub(crate) fn check(
    kills: &[Record],
    before: &Metrics,
    after: &Metrics,
    allowed: &Allowed,
) -> Result<(), String> {
    let growth = |name: &str| after.value(name) - before.value(name);
    let equal = |what: &str, got: u64, wanted: u64| {
        if got == wanted {
            Ok(())
        } else {
            Err(format!("{what}: {got} instead of {wanted}"))
        }
    };
    let between = |what: &str, got: u64, from: u64, more: u64| {
        if (from..=from + more).contains(&got) {
            Ok(())
        } else {
            Err(format!("{what}: {got}, not from {from} to {}", from + more))
        }
    };
    let ids: HashSet<&str> = kills.iter().map(|record| record.kill.id.as_str()).collect();
    equal("distinct kill ids", ids.len() as u64, kills.len() as u64)?;
    let with = |role| {
        kills
            .iter()
            .filter(|record| record.kill.role == role)
            .count() as u64
    };
    let marked = with(Role::Primary) + with(Role::Group);

    equal(
        "records dropped",
        growth("oom_probe_records_dropped_total"),
        0,
    )?;
    equal(
        "records rejected",
        growth("oom_probe_records_rejected_total"),
        0,
    )?;
    let exiting = growth("oom_probe_exiting_marks_total");
    between("exiting marks", exiting, 0, allowed.exiting)?;
    let marks = growth("oom_probe_kernel_marks_total");
    between("marks", marks, marked + exiting, allowed.marked_again)?;
    let vmstat = growth("oom_probe_vmstat_oom_kills_total");
    between("the kernel's own count", vmstat, marked, allowed.repeats)?;
    equal(
        "unaccounted kills",
        after.value("oom_probe_unaccounted_kills"),
        0,
    )?;

    let mut cells = BTreeMap::new();
    for Record { kill, scope, .. } in kills {
        let labels = (scope.as_str(), kill.limit.as_str(), kill.role.as_str());
        *cells.entry(labels).or_insert(0) += 1;
    }
    let total = |labels: &[String]| {
        let sum = |metrics: &Metrics| metrics.sum("oom_probe_kills_total", labels);
        sum(after) - sum(before)
    };
    equal("oom_probe_kills_total", total(&[]), kills.len() as u64)?;
    for ((scope, limit, role), count) in cells {
        let labels = [("scope", scope), ("limit", limit), ("role", role)]
            .map(|(name, value)| format!("{name}=\"{value}\""));
        equal(
            &format!("oom_probe_kills_total{labels:?}"),
            total(&labels),
            count,
        )?;
    }
    let events: HashSet<&str> = kills
        .iter()
        .map(|record| record.kill.event.as_str())
        .collect();
    let sum = |metrics: &Metrics| metrics.sum("oom_probe_oom_events_total", &[]);
    equal(
        "oom_probe_oom_events_total",
        sum(after) - sum(before),
        events.len() as u64,
    )?;
    equal(
        "primary kills by event",
        with(Role::Primary),
        events.len() as u64,
    )
}
