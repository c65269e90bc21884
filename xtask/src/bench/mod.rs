//! `cargo xtask bench`: the daemon measured against its budgets, by real kills on this machine.
//!
//! Figures are shown, not asserted: they depend on the machine and on what else it does.

mod daemon;
mod full_node;
mod kernel;
mod poll;
mod storm;

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use comfy_table::{ContentArrangement, Table, presets};

use crate::{cmd, compile};
use daemon::Daemon;
use storm::Storm;

/// How much to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kills one at a time, and as many in a storm
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u32,
    /// Starts of the daemon
    #[arg(long, value_name = "N", default_value_t = 20)]
    starts: u32,
    /// Seconds of doing nothing
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle: u64,
    /// Processes that grow at the same time in the storm
    #[arg(long, value_name = "N", default_value_t = 8)]
    parallel: u32,
}

/// Builds, measures and prints a table.
///
/// # Errors
/// It cannot be built, or this machine does not let kills be captured.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !cmd::is_root() {
        bail!("loading kernel programs and making cgroups take root: sudo cargo xtask bench");
    }
    let built = compile::build(&compile::Args::default())?;
    let mut results = Results::default();
    let measured = measure_all(args, &built, &mut results);
    println!("{}", results.0);
    measured.map(|()| ExitCode::SUCCESS)
}

fn measure_all(args: &Args, built: &compile::Built, results: &mut Results) -> Result<()> {
    let size = fs::metadata(&built.oom_probe)?.len();
    results.add("binary", format!("{:.1} MiB", mib(size)), "8 MiB (static)");

    eprintln!("bench: {} starts", args.starts);
    let mut starts = (0..args.starts)
        .map(|_| Ok(Daemon::start(&built.oom_probe)?.started))
        .collect::<Result<Vec<_>>>()?;
    results.add("process start to armed", spread(&mut starts), "40 ms");

    let daemon = Daemon::start(&built.oom_probe)?;
    let memory = daemon.memory()?;
    results.add("peak resident memory at start", memory.peak(), "24 MiB");
    idle(&daemon, args.idle, results)?;

    let stats = kernel::Stats::on()?;
    eprintln!("bench: {} kills one at a time", args.kills);
    measure(&daemon, &built.hog, args.kills, 1, results)?;
    for program in daemon.programs()? {
        let name = format!("in-kernel time per run of {}", program.name);
        results.add(&name, program.text(), program.budget());
    }
    drop(stats);

    eprintln!("bench: {} kills, {} at a time", args.kills, args.parallel);
    let before = daemon.user_cpu()?;
    measure(&daemon, &built.hog, args.kills, args.parallel, results)?;
    let per_kill = (daemon.user_cpu()? - before) / args.kills;
    let text = format!("{} (polls included)", ms(per_kill));
    results.add("user CPU per kill in the storm", text, "0.3 ms");
    let memory = daemon.memory()?;
    results.add("resident memory after all kills", memory.now(), "12 MiB");
    drop(daemon);

    eprintln!("bench: a node with 250 pods");
    for row in full_node::measure(&built.oom_probe)? {
        results.add(&row.what, row.measured, &row.budget);
    }
    Ok(())
}

fn idle(daemon: &Daemon, seconds: u64, results: &mut Results) -> Result<()> {
    eprintln!("bench: {seconds} s idle");
    let (cpu, switches) = (daemon.cpu()?, daemon.voluntary_switches()?);
    thread::sleep(Duration::from_secs(seconds));
    let cpu = daemon.cpu()? - cpu;
    let switches = daemon.voluntary_switches()? - switches;
    results.add("resident memory, idle", daemon.memory()?.now(), "12 MiB");
    results.add(
        "CPU while idle",
        format!("{} in {seconds} s", ms(cpu)),
        "3 ms a minute",
    );
    let rate = switches as f64 / seconds.max(1) as f64;
    results.add(
        "voluntary context switches, idle",
        format!("{rate:.2}/s"),
        "0.2/s",
    );
    Ok(())
}

/// Makes kills and adds how long each took to be visible.
fn measure(
    daemon: &Daemon,
    hog: &std::path::Path,
    kills: u32,
    parallel: u32,
    results: &mut Results,
) -> Result<()> {
    let storm = Storm { kills, parallel };
    let mut seen = storm.run(daemon, hog)?;
    let (what, budget) = match parallel {
        1 => ("kill to visible", "p50 2 ms, p99 4 ms"),
        _ => ("kill to visible in a storm", "p99 10 ms"),
    };
    results.add(
        &format!("{what} in /metrics"),
        spread(&mut seen.metrics),
        budget,
    );
    results.add(
        &format!("{what} in /api/v1/kills"),
        spread(&mut seen.api),
        budget,
    );
    Ok(())
}

/// Median and what few exceed.
fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let last = times.len().saturating_sub(1);
        times.get((last as f64 * share).ceil() as usize).copied()
    };
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| at(share).map_or_else(String::new, ms));
    format!("p50 {p50}, p99 {p99}, max {max} ({})", times.len())
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

struct Results(Table);

impl Default for Results {
    fn default() -> Self {
        let mut table = Table::new();
        table
            .load_style(presets::ASCII_MARKDOWN)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(["what", "measured", "budget"]);
        Self(table)
    }
}

impl Results {
    fn add(&mut self, what: &str, measured: impl Into<String>, budget: &str) {
        self.0
            .add_row([what.to_owned(), measured.into(), budget.to_owned()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_the_sorted_times() {
        let mut times: Vec<_> = (1..=101).rev().map(Duration::from_millis).collect();
        assert_eq!(
            spread(&mut times),
            "p50 51.00 ms, p99 100.00 ms, max 101.00 ms (101)"
        );
        assert_eq!(
            spread(&mut [Duration::from_millis(3)]),
            "p50 3.00 ms, p99 3.00 ms, max 3.00 ms (1)"
        );
    }
}
