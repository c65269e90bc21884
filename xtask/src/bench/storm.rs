//! Kills made on purpose, while two pollers look for them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow, bail};
use hog::cgroup::{Cgroup, Hierarchy};

use super::daemon::Daemon;
use super::poll::{self, Seen};

/// Memory that the processes of a storm fight for, bytes.
const LIMIT: u64 = 32 << 20;
/// The longest that one kill may take on a slow machine.
const PER_KILL: Duration = Duration::from_secs(1);

/// How many kills.
pub(super) struct Storm {
    pub(super) kills: u32,
    /// Processes that grow at the same time.
    pub(super) parallel: u32,
}

/// From the kernel's mark to the first answer that shows it, for each kill.
pub(super) struct Delays {
    pub(super) metrics: Vec<Duration>,
    pub(super) api: Vec<Duration>,
}

impl Storm {
    /// Makes the kills in a cgroup of its own.
    pub(super) fn run(&self, daemon: &Daemon, hog: &Path) -> Result<Delays> {
        let Self { kills, parallel } = self;
        let wanted = *kills as usize;
        let within = PER_KILL * *kills + Duration::from_secs(5);
        let address = daemon.address;
        let cgroup = Cgroup::create(
            &Hierarchy::detect()?,
            format!("oom-probe-bench-{}", std::process::id()),
        )?;
        cgroup.set_limit(LIMIT)?;
        let metrics = poll::Metrics::new(address)?;
        let api = poll::Api::new(address)?;
        let metrics = thread::spawn(move || metrics.watch(wanted, within));
        let api = thread::spawn(move || api.watch(wanted, within));

        let mut herd = Command::new(hog);
        herd.args(["herd", "--step", "4M", "--interval", "0"])
            .args(["--children", &kills.to_string()])
            .args(["--parallel", &parallel.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = cgroup.spawn(herd)?.wait()?;
        cgroup.remove()?;
        if !status.success() {
            // The pollers wait for kills that will not come, and end with this program.
            bail!("the herd ended with {status}");
        }
        let metrics = metrics.join().map_err(|_| anyhow!("a poller panicked"))?;
        let api = api.join().map_err(|_| anyhow!("a poller panicked"))?;
        Ok(delays(&metrics?, &api?))
    }
}

/// The API gives each kill's time; the metrics show them in the same order. Somebody else's kills
/// on this machine are as good as the storm's own, but one may have been seen by one poller only.
fn delays(metrics: &[SystemTime], api: &[Seen]) -> Delays {
    // A clock step backwards in between would be shown as no delay at all.
    let since =
        |seen: &SystemTime, kill: &Seen| seen.duration_since(kill.killed).unwrap_or_default();
    let pairs = metrics.iter().zip(api);
    Delays {
        metrics: pairs.map(|(seen, kill)| since(seen, kill)).collect(),
        api: api.iter().map(|kill| since(&kill.seen, kill)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_measured_from_the_kernels_mark() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let api = [
            Seen {
                killed: at(10),
                seen: at(12),
            },
            Seen {
                killed: at(20),
                seen: at(21),
            },
        ];
        let delays = delays(&[at(13), at(24)], &api);
        assert_eq!(delays.metrics, [3, 4].map(Duration::from_millis));
        assert_eq!(delays.api, [2, 1].map(Duration::from_millis));
    }
}
