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
use super::spread::{Spread, ms};
use super::storm::Storm;
use super::sysctl::Sysctl;

/// Where kills were seen, and how late.
type Way = (&'static str, Spread);

/// Delays of the same kills on three ways.
struct Delays {
    log: Vec<Duration>,
    metrics: Vec<Duration>,
    api: Vec<Duration>,
}

/// In hundredths of what a kill takes, one at a time: 2 ms and 4 ms where that is 10 ms.
const ALONE: [Budget; 2] = [
    Budget {
        most: 20.0,
        text: "p50 20 % of a kill",
    },
    Budget {
        most: 40.0,
        text: "p99 40 % of a kill",
    },
];
/// Thousandths of a CPU that deploy/base asks for.
const REQUEST: u32 = 10;
/// Processes that grow at the same time.
const TOGETHER: u32 = 8;
const STORM: Budget = Budget {
    most: 100.0,
    text: "p99 100 % of a kill",
};

pub(super) fn measure(oom_probe: &Path, hog: &Path, kills: u32) -> Result<Section> {
    let mut section = Section::figures(
        "Kill to visible",
        "From the kernel's own clock at the mark (`time` in the record) to the moment at which the \
         line, or an answer with the kill, has been read. `/api/v1/kills` is asked to hold its \
         answer back until there is a kill, and `/metrics` is scraped as soon as the line is out. The \
         daemon is in a cgroup for CPU time of a service's weight, the hogs together in another, as \
         services and pods are. Budgets are shares of what a kill takes in the same run, from fork \
         to the cgroup's removal, one at a time: 20 %, 40 % and 100 % are 2, 4 and 10 ms where that \
         is 10 ms, as on the machine for which they were planned.",
    );
    let daemon = Daemon::start(oom_probe, &[])?;
    let quiet = Sysctl::quiet_console()?;
    let (kill, alone) = watch(&daemon, hog, Storm::alone(kills, 1))?;
    section.figure("what a kill takes, one at a time", ms(kill));
    let share = |delay: Duration| delay.as_secs_f64() * 100.0 / kill.as_secs_f64();
    for (what, spread) in alone {
        for (which, delay, budget) in [
            ("median", spread.p50, &ALONE[0]),
            ("one in a hundred", spread.p99, &ALONE[1]),
        ] {
            let text = format!("{spread}: {:.0} %", share(delay));
            section.judged(&format!("to {what}: {which}"), text, share(delay), *budget);
        }
    }
    for (what, spread) in watch(&daemon, hog, Storm::alone(kills, TOGETHER))?.1 {
        let what = format!("to {what}, {TOGETHER} growing at a time");
        let text = format!("{spread}: {:.0} %", share(spread.p99));
        section.judged(&what, text, share(spread.p99), STORM);
    }
    drop(quiet);
    if fs::read_to_string("/proc/consoles").is_ok_and(|consoles| !consoles.is_empty()) {
        for (growing, parallel) in [("", 1), (", 8 growing at a time", TOGETHER)] {
            for (what, spread) in watch(&daemon, hog, Storm::alone(kills, parallel))?.1 {
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
    for (what, spread) in watch(&daemon, hog, Storm::alone(kills, TOGETHER))?.1 {
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

/// How long a kill takes, and how long it takes to see one on each way.
fn watch(daemon: &Daemon, hog: &Path, storm: Storm) -> Result<(Duration, [Way; 3])> {
    eprintln!("bench: {} kills, watched", storm.kills());
    let (wanted, within) = (storm.kills() as usize, storm.patience());
    let metrics = poll::Metrics::new(daemon.address, daemon.log.clone())?;
    let api = poll::Api::new(daemon.address)?;
    let metrics = priority::measuring(move || metrics.watch(wanted, within));
    let api = priority::measuring(move || api.watch(wanted, within));
    let kill = storm.rage(hog)?.took / wanted as u32;
    let metrics = metrics.join().map_err(|_| anyhow!("a poller panicked"))??;
    let api = api.join().map_err(|_| anyhow!("a poller panicked"))??;
    let log = daemon.log.take(wanted, within)?;
    let Delays { log, metrics, api } = delays(&log, &metrics, &api);
    let spread = |delays| Spread::of(delays).context("no kills were asked for");
    let ways = [
        ("log line", spread(log)?),
        ("/metrics", spread(metrics)?),
        ("/api/v1/kills", spread(api)?),
    ];
    Ok((kill, ways))
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
