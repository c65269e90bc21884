//! A real Prometheus: what it is told to scrape it scrapes, and what it has can be asked by PromQL.
//!
//! `cargo xtask test` puts one on the PATH (`cargo xtask tools` gets it). It listens on a port of
//! the kernel's choice on loopback, keeps its data in a directory of its own, and ends when it is
//! dropped. A test that takes this in also takes in `real_oom/http.rs` as `crate::http`.

mod answer;
mod config;
mod listening;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;

pub(crate) use answer::Sample;
pub(crate) use config::{Config, Format, Scrape};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// A running Prometheus, killed on drop.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

/// Whether there is one on the PATH.
///
/// # Errors
/// Why tests that need it have to be skipped.
pub(crate) fn available() -> Result<(), String> {
    let version = Command::new("prometheus")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match version {
        Ok(status) if status.success() => Ok(()),
        _ => Err("no prometheus on the PATH: `cargo xtask tools` gets one".to_owned()),
    }
}

impl Prometheus {
    /// Starts one with this configuration and waits until it answers.
    pub(crate) fn start(config: &Config<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = config.write(directory.path());
        let log = directory.path().join("log");
        let mut child = Command::new("prometheus")
            .arg("--config.file")
            .arg(&file)
            .arg("--storage.tsdb.path")
            .arg(directory.path().join("data"))
            .args(["--web.listen-address", "127.0.0.1:0"])
            // The assets of its pages are not part of Debian's package.
            .args(["--web.console.libraries", "/nonexistent"])
            .args(["--web.console.templates", "/nonexistent"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let address = ready(&mut child, &log);
        Self {
            child,
            address,
            directory,
        }
    }

    /// Where it serves its HTTP API and its pages.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The instant vector, or the scalar, that an expression has now.
    pub(crate) fn query(&self, expression: &str) -> Vec<Sample> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", expression)
            .finish();
        let data = self.get(&format!("/api/v1/query?{query}"));
        answer::samples(&data).unwrap_or_else(|| panic!("{expression}: {data}"))
    }

    /// The samples of an expression once they are as wanted; panics with the last ones if that does
    /// not come.
    pub(crate) fn until(
        &self,
        expression: &str,
        wanted: impl Fn(&[Sample]) -> bool,
    ) -> Vec<Sample> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let samples = self.query(expression);
            if wanted(&samples) {
                return samples;
            }
            assert!(
                Instant::now() < deadline,
                "{expression} stays {samples:?}\n{}",
                self.log()
            );
            thread::sleep(PAUSE);
        }
    }

    /// Waits until a scrape of the job has succeeded that began after this call.
    pub(crate) fn scraped(&self, job: &str) {
        let now = self.query("time()")[0].value;
        let up = format!(r#"up{{job="{job}"}}"#);
        // Of a selector alone: of any other expression it is the time of the evaluation.
        self.until(&format!("timestamp({up})"), |samples| {
            samples.iter().any(|sample| sample.value > now)
        });
        self.until(&up, |samples| samples.iter().any(|up| up.value == 1.0));
    }

    /// The `data` of a successful answer of its HTTP API.
    pub(crate) fn get(&self, path: &str) -> Value {
        let body = http::get(self.address, path);
        let body = body.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {body}");
        answer["data"].clone()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// Its address, once it answers there.
fn ready(child: &mut Child, log: &Path) -> SocketAddr {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ended = child.try_wait().unwrap();
        let address = listening::address(child.id());
        if let Some(address) = address
            && http::get(address, "/-/ready").is_ok()
        {
            return address;
        }
        if ended.is_some() || Instant::now() > deadline {
            // It may have gone already; it is ours and not yet reaped.
            let _ = child.kill();
            let _ = child.wait();
            let said = fs::read_to_string(log).unwrap_or_default();
            panic!("Prometheus does not start ({ended:?}): {said}");
        }
        thread::sleep(PAUSE);
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only where it has ended and been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
