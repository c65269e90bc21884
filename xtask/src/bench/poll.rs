//! Asks the daemon again and again, and notes when each kill was first seen.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::log::Log;

/// A connection that is kept open.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    fn get(&mut self, path: &str) -> Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut length = None;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                bail!("the daemon closed the connection");
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.context("the answer has no length")?];
        self.stream.read_exact(&mut body)?;
        Ok(String::from_utf8(body)?)
    }
}

/// Looks for kills in `/metrics` as soon as the log tells of some: a scrape every so often would be
/// late by its pause, and keep the daemon busy.
pub(super) struct Metrics {
    client: Client,
    before: usize,
    log: Log,
}

impl Metrics {
    /// Begins with the kills that are there already.
    pub(super) fn new(address: SocketAddr, log: Log) -> Result<Self> {
        let mut client = Client::connect(address)?;
        let before = kills_in(&client.get("/metrics")?);
        Ok(Self {
            client,
            before,
            log,
        })
    }

    /// When each of the next so many kills was first counted, in order.
    ///
    /// # Errors
    /// The daemon does not answer, or not all kills are there in time.
    pub(super) fn watch(mut self, kills: usize, within: Duration) -> Result<Vec<SystemTime>> {
        let mut seen = Vec::with_capacity(kills);
        let deadline = Instant::now() + within;
        while seen.len() < kills {
            if Instant::now() > deadline {
                bail!(
                    "/metrics shows {} of {kills} kills in {within:?}",
                    seen.len()
                );
            }
            self.log.wait_for_more(seen.len(), Duration::from_secs(1));
            let there = kills_in(&self.client.get("/metrics")?) - self.before;
            seen.resize(there.max(seen.len()), SystemTime::now());
        }
        Ok(seen)
    }
}

fn kills_in(text: &str) -> usize {
    sum(text, "oom_probe_kills_total") as usize
}

/// The sum of the series of that name.
fn sum(text: &str, name: &str) -> f64 {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with([' ', '{']))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// The sum of a metric's series now.
///
/// # Errors
/// The daemon does not answer.
pub(super) fn metric(address: SocketAddr, name: &str) -> Result<f64> {
    Ok(sum(&Client::connect(address)?.get("/metrics")?, name))
}

/// Looks for kills in `/api/v1/kills`.
pub(super) struct Api {
    client: Client,
    last: Option<String>,
}

/// A kill as the API tells it.
pub(super) struct Seen {
    pub(super) killed: SystemTime,
    /// When the first answer with it had been read.
    pub(super) seen: SystemTime,
}

#[derive(serde::Deserialize)]
struct Record {
    id: String,
    time: jiff::Timestamp,
}

impl Api {
    /// Begins behind the kills that are there already.
    pub(super) fn new(address: SocketAddr) -> Result<Self> {
        let mut api = Self {
            client: Client::connect(address)?,
            last: None,
        };
        api.next()?;
        Ok(api)
    }

    /// The kills since the last question, as soon as there are some, or none after a second.
    fn next(&mut self) -> Result<Vec<Seen>> {
        let mut path = "/api/v1/kills?wait=1s".to_owned();
        if let Some(id) = &self.last {
            let _ = write!(path, "&after={id}");
        }
        let text = self.client.get(&path)?;
        let seen = SystemTime::now();
        let records: Vec<Record> = serde_json::from_str(&text)?;
        if let Some(newest) = records.last() {
            self.last = Some(newest.id.clone());
        }
        let seen = records.iter().map(|record| Seen {
            killed: record.time.into(),
            seen,
        });
        Ok(seen.collect())
    }

    /// The next so many kills.
    ///
    /// # Errors
    /// As for [`Metrics::watch`].
    pub(super) fn watch(mut self, kills: usize, within: Duration) -> Result<Vec<Seen>> {
        let mut seen = Vec::with_capacity(kills);
        let deadline = Instant::now() + within;
        while seen.len() < kills {
            if Instant::now() > deadline {
                bail!(
                    "the API shows {} of {kills} kills in {within:?}",
                    seen.len()
                );
            }
            seen.append(&mut self.next()?);
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_summed_over_their_labels() {
        let text = "# TYPE oom_probe_kills counter\n\
                    oom_probe_kills_total{scope=\"host\",role=\"primary\"} 3\n\
                    oom_probe_kills_total{scope=\"pod\",role=\"group\"} 4\n\
                    oom_probe_oom_events_total{limit=\"node\"} 9\n";
        assert_eq!(kills_in(text), 7);
        assert_eq!(sum("a_b 1\na 2\n# HELP a 3\n", "a"), 2.0);
    }
}
