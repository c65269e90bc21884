//! The kill log: one line per kill on standard output, for people or for programs.

pub(crate) mod line;
pub mod output;

use std::io::IsTerminal;

use jiff::tz::TimeZone;
use tokio::sync::watch;

use capture::model::kill::Record;
pub use line::line;
pub(crate) use line::{escaped, is_in_container, limit_bytes, named, short, size};
use output::Output;

/// What a line of the kill log looks like (`--output`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line that a person can read, in local time.
    Text,
    /// The kill record as the API serves it.
    Json,
    /// No line at all.
    None,
}

impl Format {
    /// Text for a person at a terminal, else JSON.
    pub fn default_for(output: &impl IsTerminal) -> Self {
        if output.is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

/// Writes records to standard output; never waits for it.
#[derive(Debug)]
pub struct Log {
    format: Format,
    zone: TimeZone,
    output: Output,
}

impl Log {
    /// A log in the local time zone.
    pub fn new(format: Format, output: Output) -> Self {
        Self {
            format,
            zone: TimeZone::system(),
            output,
        }
    }

    /// Logs a kill; whether a line waits to be written, as [`Log::done`] counts them.
    ///
    /// # Errors
    /// When the record cannot be written as JSON.
    pub fn record(&self, record: &Record) -> Result<bool, serde_json::Error> {
        let mut text = match self.format {
            Format::Text => line(record, &self.zone),
            Format::Json => serde_json::to_string(record)?,
            Format::None => return Ok(false),
        };
        text.push('\n');
        Ok(self.output.push(text.into_bytes()))
    }

    /// How many lines of those that waited are written, or could not be.
    pub fn done(&self) -> watch::Receiver<u64> {
        self.output.done()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead, BufReader};
    use std::time::Duration;

    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::sinks::fixture;

    #[test]
    fn each_format_is_one_line_per_kill() {
        for (format, first) in [
            (Format::Text, Some("1")),
            (Format::Json, Some("{\"type\":\"oom_kill\",\"schema\":1,")),
            (Format::None, None),
        ] {
            let (reader, writer) = io::pipe().unwrap();
            let log = Log::new(format, Output::start(writer, Counter::default()).unwrap());
            log.record(&fixture::pod_child()).unwrap();
            log.record(&fixture::pod_child()).unwrap();
            log.output.finish(Duration::from_secs(60));
            drop(log);
            let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
            assert_eq!(lines.len(), 2 * usize::from(first.is_some()), "{lines:?}");
            for line in lines {
                assert!(line.starts_with(first.unwrap()), "{line}");
            }
        }
    }
}
