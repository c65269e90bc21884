//! From the kernel's mark to where somebody sees it: the log, `/metrics`, `/api/v1/kills`.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};

use super::daemon::Daemon;
use super::log::Told;
use super::poll::{self, Seen};
use super::priority;
use super::section::{Budget, Section};
use super::share::Share;
use super::spread::Spread;
use super::storm::Storm;
use super::sysctl::Sysctl;

/// Delays of the same kills on three ways.
struct Delays {
    log: Vec<Duration>,
    metrics: Vec<Duration>,
    api: Vec<Duration>,
}

const ALONE: [Budget; 2] = [
    Budget {
        most: 2.0,
        text: "p50 2 ms",
    },
    Budget {
        most: 4.0,
        text: "p99 4 ms",
    },
];
/// Thousandths of a CPU that deploy/base asks for.
const REQUEST: u32 = 10;
/// Processes that grow at the same time.
const TOGETHER: u32 = 8;
const STORM: Budget = Budget {
    most: 10.0,
    text: "p99 10 ms",
};

pub(super) fn measure(oom_probe: &Path, hog: &Path, kills: u32) -> Result<Section> {
    let mut section = Section::figures(
        "Kill to visible",
        "From the kernel's own clock at the mark (`time` in the record) to the moment at which the \
         line, or an answer with the kill, has been read. `/api/v1/kills` is asked to hold its \
         answer back until there is a kill, and `/metrics` is scraped as soon as the line is out. The \
         daemon is in a cgroup for CPU time of a service's weight, the hogs together in another, as \
         services and pods are.",
    );
    let daemon = Daemon::start(oom_probe, &[])?;
    let quiet = Sysctl::quiet_console()?;
    for (what, spread) in watch(&daemon, hog, Storm::alone(kills, 1))? {
        let [middle, late] = ALONE;
        let text = spread.to_string();
        let what = format!("to {what}");
        section.judged(&format!("{what}: median"), &*text, ms(spread.p50), middle);
        section.judged(
            &format!("{what}: one in a hundred"),
            text,
            ms(spread.p99),
            late,
        );
    }
    for (what, spread) in watch(&daemon, hog, Storm::alone(kills, TOGETHER))? {
        let what = format!("to {what}, {TOGETHER} growing at a time");
        section.judged(&what, spread.to_string(), ms(spread.p99), STORM);
    }
    drop(quiet);
    if fs::read_to_string("/proc/consoles").is_ok_and(|consoles| !consoles.is_empty()) {
        for (growing, parallel) in [("", 1), (", 8 growing at a time", TOGETHER)] {
            for (what, spread) in watch(&daemon, hog, Storm::alone(kills, parallel))? {
                let what = format!("to {what}{growing}, with the console");
                section.figure(&what, spread.to_string());
            }
        }
        section.note(
            "Right after the mark the kernel writes a line of each kill on its console. A serial one \
             keeps a CPU from everything else until the last letter is out: on this machine that is \
             most of the delay. So the budgets are for a kernel that writes nothing there \
             (`kernel.printk` 1); with the console is the machine as it is.",
        );
    }
    drop(daemon);
    let request = format!("{REQUEST}m");
    let Some(share) = Share::new("daemon", Some(REQUEST))? else {
        section.note("No cgroups for CPU time: daemon and hogs shared it as processes.");
        return Ok(section);
    };
    let daemon = Daemon::start_in(Some(share), oom_probe, &[])?;
    for (what, spread) in watch(&daemon, hog, Storm::alone(kills, TOGETHER))? {
        let what =
            format!("to {what}, {TOGETHER} growing at a time, a daemon that asks for {request}");
        section.figure(&what, spread.to_string());
    }
    section.note(format!(
        "A DaemonSet's pod that asks for {request} has a hundredth of the hogs' weight: while others \
         want all CPUs it waits. No kill is lost to that."
    ));
    Ok(section)
}

/// How long it takes to see a kill, on each way.
fn watch(daemon: &Daemon, hog: &Path, storm: Storm) -> Result<[(&'static str, Spread); 3]> {
    eprintln!("bench: {} kills, watched", storm.kills());
    let (wanted, within) = (storm.kills() as usize, storm.patience());
    let metrics = poll::Metrics::new(daemon.address, daemon.log.clone())?;
    let api = poll::Api::new(daemon.address)?;
    let metrics = priority::measuring(move || metrics.watch(wanted, within));
    let api = priority::measuring(move || api.watch(wanted, within));
    storm.rage(hog)?;
    let metrics = metrics.join().map_err(|_| anyhow!("a poller panicked"))??;
    let api = api.join().map_err(|_| anyhow!("a poller panicked"))??;
    let log = daemon.log.take(wanted, within)?;
    let Delays { log, metrics, api } = delays(&log, &metrics, &api);
    let spread = |delays| Spread::of(delays).context("no kills were asked for");
    Ok([
        ("log line", spread(log)?),
        ("/metrics", spread(metrics)?),
        ("/api/v1/kills", spread(api)?),
    ])
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The API and the log give each kill's time; the metrics show them in the same order. Somebody
/// else's kills on this machine are as good as the storm's own, but one may have been seen on one
/// way only.
fn delays(log: &[Told], metrics: &[SystemTime], api: &[Seen]) -> Delays {
    // A clock step backwards in between would be shown as no delay at all.
    let since = |seen: SystemTime, killed| seen.duration_since(killed).unwrap_or_default();
    let pairs = metrics.iter().zip(api);
    Delays {
        log: log
            .iter()
            .filter_map(|told| Some(since(told.seen, told.killed?)))
            .collect(),
        metrics: pairs
            .map(|(seen, kill)| since(*seen, kill.killed))
            .collect(),
        api: api
            .iter()
            .map(|kill| since(kill.seen, kill.killed))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_measured_from_the_kernels_mark() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let seen = |killed, seen| Seen {
            killed: at(killed),
            seen: at(seen),
        };
        let told = Told {
            pid: 1,
            cgroup: None,
            killed: Some(at(10)),
            seen: at(11),
        };
        let delays = delays(&[told], &[at(13), at(24)], &[seen(10, 12), seen(20, 21)]);
        assert_eq!(delays.log, [Duration::from_millis(1)]);
        assert_eq!(delays.metrics, [3, 4].map(Duration::from_millis));
        assert_eq!(delays.api, [2, 1].map(Duration::from_millis));
    }
}
