//! Kill records and their lines in the log.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader},
};

use jiff::tz::TimeZone;
use oom_probe::sinks::log::{Format, Log, line, output::Output};
use prometheus_client::metrics::counter::Counter;

use super::{hold, kills};

#[test]
fn records() {
    let mut text = String::new();
    for (what, record) in kills::all() {
        let json = serde_json::to_string_pretty(&record).unwrap();
        writeln!(text, "{what}: {json}").unwrap();
    }
    hold("records.txt", &text);
}

#[test]
fn log_lines() {
    let mut text = String::new();
    for (what, record) in kills::all() {
        writeln!(text, "{what}:\n{}", line(&record, &TimeZone::UTC)).unwrap();
    }
    hold("log.txt", &text);
}

/// So the records' own snapshot holds for them.
#[test]
fn a_line_of_the_log_in_json_is_the_record() {
    let (reader, writer) = io::pipe().unwrap();
    let output = Output::start(writer, Counter::default()).unwrap();
    let log = Log::new(Format::Json, output);
    for (_, record) in kills::all() {
        assert!(log.record(&record).unwrap());
    }
    drop(log);
    let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect();
    let records = kills::all();
    let expected = records.iter().map(|(_, it)| serde_json::to_string(it));
    assert_eq!(lines, expected.map(Result::unwrap).collect::<Vec<_>>());
}
