//! Where a record goes once it is known whose kill it is.

pub mod containers;
pub mod events;
#[cfg(test)]
pub(crate) mod fixture;
pub mod history;
pub mod log;
pub mod metrics;

use std::sync::Arc;

use bytes::Bytes;

use crate::kill::Record;

/// Everywhere that a record goes. None of it waits for anybody.
pub struct Sinks {
    /// Counts.
    pub metrics: metrics::Metrics,
    /// The last records.
    pub history: Arc<history::History>,
    /// One line each.
    pub log: log::Log,
}

impl Sinks {
    /// Hands a record to each sink; returns it as JSON.
    pub fn record(&self, record: &Record) -> Option<Bytes> {
        self.metrics.attributions(record.attribution).inc();
        let kept = self.history.push(record);
        kept.and_then(|json| self.log.record(record).map(|()| json))
            .inspect_err(|error| {
                tracing::error!("kill {} cannot be written as JSON: {error}", record.kill.id);
            })
            .ok()
    }
}
