//! prometheus.yml, which is JSON here: YAML takes it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fs, time::Duration};

use serde_json::{Value, json};

/// What it is to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config<'a> {
    /// What it scrapes.
    pub(crate) scrapes: Vec<Scrape<'a>>,
    /// Rules that it evaluates, by their files.
    pub(crate) rules: Vec<PathBuf>,
}

/// One job with one target.
#[derive(Clone, Debug)]
pub(crate) struct Scrape<'a> {
    pub(crate) job: &'a str,
    pub(crate) target: SocketAddr,
    pub(crate) format: Format,
    pub(crate) interval: Duration,
    /// Further fields of the `scrape_config`.
    pub(crate) more: Value,
}

/// What it asks the target for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// Its name in `scrape_protocols`.
    fn protocol(self) -> &'static str {
        match self {
            Self::Text => "PrometheusText0.0.4",
            Self::OpenMetrics => "OpenMetricsText1.0.0",
        }
    }
}

impl<'a> Scrape<'a> {
    /// Every fifth of a second, labels as the target gives them.
    pub(crate) fn of(job: &'a str, target: SocketAddr, format: Format) -> Self {
        Self {
            job,
            target,
            format,
            interval: Duration::from_millis(200),
            more: json!({"honor_labels": true}),
        }
    }

    fn json(&self) -> Value {
        let interval = format!("{}ms", self.interval.as_millis());
        let mut json = json!({
            "job_name": self.job,
            "scrape_interval": interval, "scrape_timeout": interval,
            "scrape_protocols": [self.format.protocol()],
            "static_configs": [{"targets": [self.target.to_string()]}],
        });
        for (name, value) in self.more.as_object().into_iter().flatten() {
            json[name] = value.clone();
        }
        json
    }
}

impl Config<'_> {
    /// Writes it into `directory`; returns the file.
    pub(super) fn write(&self, directory: &Path) -> PathBuf {
        let scrapes: Vec<_> = self.scrapes.iter().map(Scrape::json).collect();
        let config = json!({
            "global": {"evaluation_interval": "200ms"},
            "rule_files": self.rules,
            "scrape_configs": scrapes,
        });
        let file = directory.join("prometheus.yml");
        fs::write(&file, config.to_string()).unwrap();
        file
    }
}
