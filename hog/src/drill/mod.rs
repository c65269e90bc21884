//! `hog drill`: makes one replica of a service run out of memory, watches, and writes the
//! post-mortem.
//!
//! [`local`] drives it without a cluster, [`cluster`] against a Deployment. What they see goes to the
//! [`recorder`]; [`criteria`] judge the [`evidence`], and [`report`] writes it down.

mod cluster;
mod criteria;
mod evidence;
mod expect;
mod local;
mod probe;
mod recorder;
mod report;
mod web;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use hog::units::{parse_duration, parse_nonzero_size};
use tokio::signal::unix::{SignalKind, signal};

use crate::say::say;
use cluster::ClusterOptions;
use criteria::Verdict;

/// Exit code of a drill that was done and showed what it should not.
const MISSED: u8 = 3;

#[derive(Args, Debug)]
pub(crate) struct Drill {
    #[command(flatten)]
    options: Options,

    #[command(flatten)]
    cluster: ClusterOptions,
}

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Memory limit of the replicas [default: 128M; in a cluster as it is]
    #[arg(long, value_name = "SIZE", value_parser = parse_nonzero_size)]
    limit: Option<u64>,

    /// What one of them is asked to take; whole MiB
    #[arg(long, value_name = "SIZE", default_value = "200M", value_parser = parse_nonzero_size)]
    allocate: u64,

    /// Memory per step; in a cluster the service's own
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_nonzero_size)]
    step: u64,

    /// Time between steps
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = parse_duration)]
    interval: Duration,

    /// How long the client asks before anything is done
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = parse_duration)]
    baseline: Duration,

    /// Time from the kill until the replica has to be ready again
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    recover_within: Duration,

    /// The longest time that the service may leave its client without an answer
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    silence: Duration,

    /// How long the supervisor waits before it starts a replica again
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    restart_after: Duration,

    /// The oom-probe whose record is to be had: a URL, or `none` [default: http://127.0.0.1:9550; in
    /// a cluster the one on the victim's node]
    #[arg(long, value_name = "URL|none", env = "OOM_PROBE_URL", value_parser = parse_probe)]
    probe: Option<Probe>,

    /// Path of the cgroup for the local replicas, which is made below the memory hierarchy's root
    /// [default: oom-probe-drill-PID]
    #[arg(long, value_name = "PATH", conflicts_with = "deployment")]
    cgroup: Option<PathBuf>,

    /// Directory for the report, which is made [default: drill-DATE-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Where the record of the kill comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Probe {
    None,
    Url(String),
}

#[expect(clippy::unnecessary_wraps, reason = "what clap takes for a parser")]
fn parse_probe(text: &str) -> Result<Probe, String> {
    Ok(match text {
        "none" => Probe::None,
        url => Probe::Url(url.to_owned()),
    })
}

impl Options {
    /// For all steps of the allocation.
    fn allocation_time(&self) -> Duration {
        let steps = self.allocate.div_ceil(self.step);
        self.interval
            .saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
    }

    fn interval_ms(&self) -> u64 {
        milliseconds(self.interval)
    }

    fn recover_within_ms(&self) -> u64 {
        milliseconds(self.recover_within)
    }

    fn silence_ms(&self) -> u64 {
        milliseconds(self.silence)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Drill {
    /// Runs the drill and writes the report; returns the exit code.
    pub(crate) fn run(&self) -> Result<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.context("cannot start the runtime")?;
        let code = runtime.block_on(self.drill());
        // A question on the terminal may still wait for its answer.
        runtime.shutdown_background();
        code
    }

    async fn drill(&self) -> Result<u8> {
        let Self { options, cluster } = self;
        let evidence = match &cluster.deployment {
            None => local::run(options, stopped()?).await?,
            Some(deployment) => {
                let options = cluster::Options {
                    drill: options,
                    cluster,
                    deployment,
                };
                cluster::run(&options, stopped()?).await?
            }
        };
        let criteria = criteria::check(&evidence);
        let verdict = criteria::verdict(&criteria);
        let directory = options
            .out
            .clone()
            .unwrap_or_else(|| report::directory(evidence.began));
        report::write(&directory, &evidence, &criteria, verdict)?;
        say!("{}", report::terminal(&evidence, &criteria, verdict));
        say!("hog: report in {}", directory.display());
        Ok(match verdict {
            Verdict::Passed => 0,
            Verdict::Failed => MISSED,
        })
    }
}

/// Ends when hog is told to stop, with how that was.
fn stopped() -> Result<impl Future<Output = String>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hang_up.recv() => "SIGHUP",
        };
        name.to_owned()
    })
}
