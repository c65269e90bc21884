//! Where it is shown what is known: metrics, log, history, Kubernetes Events.

pub mod kube_events;
pub mod history;
pub mod log;
pub mod metrics;

#[cfg(test)]
pub(crate) mod fixture;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{
    attribution::change::Change,
    journal::{Published, window::StoredWindow},
};
use capture::{
    model::kill::{Kill, Record},
    sys::clock::Now,
};

/// How often series whose time is over are looked for.
const EXPIRY: Duration = Duration::from_secs(60);

/// Everywhere that a change goes. None of it waits for anybody.
pub struct Sinks {
    /// The node's counts.
    pub metrics: metrics::Metrics,
    /// The series of containers and workloads.
    pub containers: metrics::containers::Containers,
    /// The last records.
    pub history: Arc<history::History>,
    /// One line each.
    pub log: log::Log,
    /// Events; none without a cluster.
    pub events: Option<kube_events::Events>,
    /// When series were last looked at.
    pub expired: Instant,
}

impl Sinks {
    /// Shows what has changed; what became of a record, if it is one.
    pub fn publish(&mut self, change: &Change, now: &Now) -> Option<Published> {
        self.count(change, now);
        match change {
            Change::Complete(record) => {
                if let Some(events) = &mut self.events {
                    events.on_kill(record);
                }
                self.show(record)
            }
            Change::Settled { settled, pod, .. } => {
                if let Some(events) = &mut self.events {
                    events.on_settled(settled, pod.as_deref(), now);
                }
                None
            }
            Change::PodSeen { .. } | Change::Pending(_) | Change::PodGone(_) => None,
        }
    }

    /// Counts what has changed, once more after a restart: nobody is told of it again.
    pub fn count(&self, change: &Change, now: &Now) {
        let Self {
            containers,
            metrics,
            ..
        } = self;
        match change {
            Change::PodSeen { pod, .. } => containers.apply(pod, now.instant),
            Change::Pending(_) => {}
            Change::Complete(record) => {
                metrics.attributions(record.attribution).inc();
                containers.on_kill(record, now.instant);
            }
            Change::Settled { settled, .. } => containers.on_settled(settled, now.instant),
            Change::PodGone(pod) => containers.remove(pod, now.instant),
        }
    }

    fn show(&self, record: &Record) -> Option<Published> {
        let kept = self.history.push(record);
        kept.and_then(|json| {
            let has_line = self.log.record(record)?;
            Ok(Published { json, has_line })
        })
        .inspect_err(|error| {
            tracing::error!("kill {} cannot be written as JSON: {error}", record.kill.id);
        })
        .ok()
    }

    /// Posts the Events that had to wait, and drops the series whose time is over.
    pub fn tick(&mut self, now: &Now) {
        if let Some(events) = &mut self.events {
            events.tick(now.instant);
        }
        if now.instant.saturating_duration_since(self.expired) >= EXPIRY {
            self.expired = now.instant;
            self.containers.tick(now.instant);
        }
    }

    /// When [`Sinks::tick`] has something to do. Series expire along with a scrape.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        self.events.as_ref()?.next_tick()
    }

    /// Makes Events of the OOM events that are over; `under_way` is the id of the one that may
    /// still take more victims.
    pub fn report(&mut self, under_way: Option<&str>, now: &Now) {
        if let Some(events) = &mut self.events {
            events.report(under_way, now);
        }
    }

    /// Whether [`Sinks::report`] has something to do.
    #[must_use]
    pub fn has_unreported(&self) -> bool {
        let events = self.events.as_ref();
        events.is_some_and(kube_events::Events::has_unreported)
    }

    /// How long containers wait for their next Event.
    #[must_use]
    pub fn event_windows(&self, now: &Now) -> Vec<StoredWindow> {
        let events = self.events.as_ref();
        events.map(|events| events.export(now)).unwrap_or_default()
    }

    /// The same, of those for which it is new or has changed.
    pub fn take_event_windows(&mut self, now: &Now) -> Vec<StoredWindow> {
        let events = self.events.as_mut();
        events
            .map(|events| events.take_changed(now))
            .unwrap_or_default()
    }

    /// A container waits for its next Event; `identify` completes the kill of its OOM event.
    pub fn restore_event_window(
        &mut self,
        window: StoredWindow,
        now: &Now,
        identify: impl FnOnce(&mut Kill),
    ) {
        if let Some(events) = &mut self.events {
            events.restore(window, now, |settled| identify(&mut settled.kill.kill));
        }
    }
}
