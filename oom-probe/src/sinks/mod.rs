//! Where a record goes once it is known whose kill it is.

pub mod containers;
pub mod events;
#[cfg(test)]
pub(crate) mod fixture;
pub mod history;
pub mod log;
pub mod metrics;

use std::sync::Arc;

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
    /// Hands a record to each sink.
    pub fn record(&self, record: &Record) {
        self.metrics.attributions(record.attribution).inc();
        let kept = self.history.push(record);
        if let Err(error) = kept.and_then(|()| self.log.record(record)) {
            tracing::error!("kill {} cannot be written as JSON: {error}", record.kill.id);
        }
    }
}
