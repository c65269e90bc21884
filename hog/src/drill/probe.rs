//! What oom-probe has to say: its records of kills, and its counters.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::{Method, Uri};
use jiff::Timestamp;
use serde_json::Value;

use super::evidence::{Change, Evidence, What};
use super::recorder::Recorder;
use super::web;

/// For one answer of the probe.
const WITHIN: Duration = Duration::from_secs(10);
/// For a kill to be in its records, parked ones included.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(250);
/// Milliseconds by which the kill and the end of its container may be apart.
const CLOCKS_APART: u128 = 10_000;

/// A counter and its value, as `/metrics` writes it.
pub(crate) type Sample = (String, f64);

/// The way to a probe.
pub(crate) enum Door {
    /// Its address, `host:port`.
    Address(String),
    /// Through the API server, to its pod.
    Pod(Box<super::cluster::Forward>),
}

impl Door {
    /// From a URL such as `http://127.0.0.1:9550`.
    pub(crate) fn at(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => {
                let port = authority.port_u16().unwrap_or(80);
                Ok(Self::Address(format!("{}:{port}", authority.host())))
            }
            _ => bail!("`{url}` is no address of a probe; try http://127.0.0.1:9550"),
        }
    }

    async fn get(&self, path: &str) -> Result<String> {
        let body = match self {
            Self::Address(address) => web::ask(address, Method::GET, path, WITHIN).await?,
            Self::Pod(forward) => forward.get(path, WITHIN).await?,
        };
        String::from_utf8(body.to_vec()).context("the probe's answer is no text")
    }

    /// Records of kills since then.
    pub(crate) async fn kills(&self, since: Timestamp) -> Result<Vec<Value>> {
        let body = self.get(&format!("/api/v1/kills?since={since}")).await?;
        parse_kills(&body).context("the probe's records are no JSON")
    }

    /// Its samples that are wanted.
    pub(crate) async fn samples(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<Sample>> {
        let body = self.get("/metrics").await?;
        Ok(parse_samples(&body, wanted))
    }
}

/// A JSON array, or one object per line.
fn parse_kills(body: &str) -> serde_json::Result<Vec<Value>> {
    let mut kills = Vec::new();
    for value in serde_json::Deserializer::from_str(body).into_iter() {
        match value? {
            Value::Array(values) => kills.extend(values),
            value => kills.push(value),
        }
    }
    Ok(kills)
}

fn parse_samples(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Sample> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let sample = (series.to_owned(), value.parse().ok()?);
            wanted(series).then_some(sample)
        })
        .collect()
}

/// What moved between two readings; a series that is new started at 0.
fn changes(before: &[Sample], after: &[Sample]) -> Vec<Change> {
    let was = |series: &str| {
        let found = before.iter().find(|(name, _)| name == series);
        found.map_or(0.0, |(_, value)| *value)
    };
    after
        .iter()
        .map(|(series, value)| Change {
            series: series.clone(),
            before: was(series),
            after: *value,
        })
        .filter(|change| (change.after - change.before).abs() > f64::EPSILON)
        .collect()
}

/// A probe, and which of what it knows belongs to the drill.
pub(crate) struct Watch {
    pub(crate) door: Door,
    /// Whether a series counts kills of the target.
    pub(crate) series: Box<dyn Fn(&str) -> bool + Send + Sync>,
    pub(crate) before: Vec<Sample>,
}

impl Watch {
    /// Takes the counters as they are now.
    pub(crate) async fn begin(
        door: Door,
        series: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Self> {
        let before = door.samples(&series).await?;
        Ok(Self {
            door,
            series: Box::new(series),
            before,
        })
    }

    /// Waits for records and counters of the drill's kill, and keeps them.
    pub(crate) async fn collect(&self, recorder: &Recorder, is_ours: impl Fn(&Value) -> bool) {
        let began = recorder.evidence().began;
        let mut collected = Ok(());
        // After a drill that was stopped there may be nothing to wait for.
        let patience = if recorder.evidence().was_stopped() {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let looked = self.look(began, &is_ours).await;
            let last = tokio::time::Instant::now() >= deadline;
            match looked {
                Ok((kills, metrics)) if last || !(kills.is_empty() || metrics.is_empty()) => {
                    keep(recorder, kills, metrics);
                    break;
                }
                Err(error) if last => {
                    collected = Err(error);
                    break;
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        if let Err(error) = collected {
            recorder.gap(format!("the probe does not answer: {error:#}"));
        }
    }

    async fn look(
        &self,
        since: Timestamp,
        is_ours: impl Fn(&Value) -> bool,
    ) -> Result<(Vec<Value>, Vec<Change>)> {
        let mut kills = self.door.kills(since).await?;
        kills.retain(is_ours);
        let after = self.door.samples(&self.series).await?;
        Ok((kills, changes(&self.before, &after)))
    }
}

fn keep(recorder: &Recorder, kills: Vec<Value>, metrics: Vec<Change>) {
    let mut evidence = recorder.evidence();
    for kill in &kills {
        place(&mut evidence, kill);
    }
    evidence.kills = kills;
    evidence.metrics = metrics;
}

/// Puts a record's kill into the timeline, unless the node's clock is another one than ours.
fn place(evidence: &mut Evidence, kill: &Value) {
    let time = kill["time"].as_str().and_then(|time| time.parse().ok());
    let Some(time) = time else { return };
    let ms = Timestamp::duration_since(time, evidence.began).as_millis();
    let ended = evidence.death().map(|death| i128::from(death.at_ms));
    let at_ms = u64::try_from(ms)
        .ok()
        .filter(|_| ended.is_none_or(|ended| (ended - ms).unsigned_abs() <= CLOCKS_APART));
    let Some(at_ms) = at_ms else {
        let gap = format!(
            "the node's clock is not ours: its record of the kill says {time}, which does not fit \
             what was seen here"
        );
        evidence.gaps.push(gap);
        return;
    };
    let victim = evidence.target.victim.clone();
    let what = What::Killed {
        comm: kill["victim"]["comm"].as_str().unwrap_or("?").to_owned(),
        pid: kill["victim"]["pid"].as_u64().unwrap_or(0),
    };
    evidence.note(at_ms, Some(&victim), what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_has_an_http_url() {
        for (url, address) in [
            ("http://127.0.0.1:9550", "127.0.0.1:9550"),
            ("http://node-1", "node-1:80"),
            ("http://[::1]:9550/", "[::1]:9550"),
        ] {
            let Ok(Door::Address(found)) = Door::at(url) else {
                panic!("{url}")
            };
            assert_eq!(found, address);
        }
        for url in ["", "127.0.0.1:9550", "https://node-1", "http://"] {
            assert!(Door::at(url).is_err(), "{url}");
        }
    }

    #[test]
    fn records_come_as_an_array_or_line_by_line() {
        for body in ["[{\"id\":1},{\"id\":2}]", "{\"id\":1}\n{\"id\":2}\n"] {
            assert_eq!(parse_kills(body).unwrap().len(), 2, "{body}");
        }
        assert_eq!(parse_kills("[]").unwrap().len(), 0);
        assert!(parse_kills("oops").is_err());
    }

    #[test]
    fn only_what_moved_is_a_change() {
        let ours = |series: &str| series.starts_with("kills{");
        let before = parse_samples("# HELP kills\nkills{a=\"x y\"} 1\nother 2\n", ours);
        let after = parse_samples("kills{a=\"x y\"} 1\nkills{a=\"z\"} 1\nother 3\n", ours);
        let changes = changes(&before, &after);
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].before, changes[0].after), (0.0, 1.0));
        assert_eq!(changes[0].series, "kills{a=\"z\"}");
    }

    #[test]
    fn a_record_of_another_clock_is_kept_out_of_the_timeline() {
        for (time, placed) in [
            ("2026-11-21T12:00:09.4Z", true),
            ("2026-11-21T11:59:00Z", false),
            ("2026-11-21T12:03:00Z", false),
        ] {
            let mut evidence = crate::drill::evidence::tests::passed();
            let is_kill = |what: &What| matches!(what, What::Killed { .. });
            evidence.timeline.retain(|moment| !is_kill(&moment.what));
            let kill = serde_json::json!({"time": time, "victim": {"pid": 1, "comm": "hog"}});
            place(&mut evidence, &kill);
            assert_eq!(evidence.when(is_kill).is_some(), placed, "{time}");
            assert_eq!(evidence.gaps.is_empty(), placed, "{time}");
        }
    }
}
