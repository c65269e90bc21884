//! Where a record goes once it is known whose kill it is.

#[cfg(test)]
pub(crate) mod fixture;
pub mod history;
pub mod kube_events;
pub mod log;
pub mod metrics;

use std::sync::Arc;

use bytes::Bytes;

use crate::model::kill::Record;

/// Everywhere that a record goes. None of it waits for anybody.
pub struct Sinks {
    /// Counts.
    pub metrics: metrics::Metrics,
    /// The last records.
    pub history: Arc<history::History>,
    /// One line each.
    pub log: log::Log,
}

/// What a record became.
pub struct Told {
    /// The record as JSON.
    pub json: Bytes,
    /// Its line waits to be written.
    pub has_line: bool,
}

impl Sinks {
    /// Hands a record to each sink.
    pub fn record(&self, record: &Record) -> Option<Told> {
        self.metrics.attributions(record.attribution).inc();
        let kept = self.history.push(record);
        kept.and_then(|json| {
            let has_line = self.log.record(record)?;
            Ok(Told { json, has_line })
        })
        .inspect_err(|error| {
            tracing::error!("kill {} cannot be written as JSON: {error}", record.kill.id);
        })
        .ok()
    }
}
