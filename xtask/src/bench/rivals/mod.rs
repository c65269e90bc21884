//! What people would use instead, told of the same kills in the same storms.

mod bpftrace;
mod counters;
pub(super) mod emulated;
mod kernel_log;
mod running;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::daemon::Daemon;
use super::log::Told;
use super::process::{Cpu, Process};
use super::section::Section;
use super::spread::{Spread, mib, ms};
use super::storm::{self, Account, Made, Storm};
use super::sysctl::Sysctl;
use running::Running;

/// A poller's pause, and what a slow machine lags behind.
const REST: Duration = Duration::from_secs(3);

/// Kills that nobody counts: what runs for the first time is slow, most of all in an emulator.
const WARM_UP: u32 = 5;

/// A way to learn of kills.
#[derive(Clone, Copy)]
struct Rival {
    name: &'static str,
    command: fn() -> Result<Command>,
    /// The line by which it says that it is ready.
    ready: &'static str,
    parse: fn(&str) -> Option<Line>,
}

/// What a line of its output says.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// A kill, by pid or by cgroup.
    Kill {
        pid: Option<u32>,
        cgroup: Option<String>,
    },
    /// The cgroup of the last kill.
    Cgroup(String),
}

const RIVALS: [Rival; 4] = [
    bpftrace::MARK_VICTIM,
    bpftrace::OOMKILL,
    kernel_log::FOLLOWER,
    counters::POLLER,
];

/// `cargo xtask bench-rival`: those that are no program of their own.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Own {
    /// Follows the kernel's log.
    KernelLog,
    /// Reads the counters of each cgroup, again and again.
    Counters,
}

/// Tells of kills until it is ended.
///
/// # Errors
/// What it looks at cannot be read.
pub(crate) fn run(own: Own) -> Result<()> {
    match own {
        Own::KernelLog => kernel_log::follow(),
        Own::Counters => counters::poll(),
    }
}

fn own(name: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench-rival", name]);
    Ok(command)
}

/// Lets all of them and the daemon watch the same kills.
pub(super) fn measure(oom_probe: &Path, hog: &Path, kills: u32) -> Result<Section> {
    let mut section = Section::table(
        "What people would use instead",
        "All of them run at the same time and see the same kills, each in a cgroup of its own that \
         is removed at once; exact is who tells each kill once, with its cgroup. Delay is from the \
         kernel's clock at the mark to the line that tells of the kill, while the kernel writes \
         nothing on its console. CPU is of the process and what it starts, user and system.",
        &["who", "kills", "exact", "delay", "resident", "CPU per kill"],
    );
    let mut running = Vec::new();
    for rival in &RIVALS {
        match Running::start(rival)? {
            Ok(rival) => running.push(rival),
            Err(said) => section.note(format!("{}: does not run here: `{said}`", rival.name)),
        }
    }
    let daemon = Daemon::start(oom_probe, &[])?;
    let _quiet = Sysctl::quiet_console()?;
    Storm::alone(WARM_UP, 1).rage(hog)?;
    daemon.log.take_after(REST);
    for rival in &running {
        rival.take();
    }
    let mut storms = vec![
        (format!("{kills}, 1 at a time"), Storm::alone(kills, 1)),
        (format!("{kills}, 8 at a time"), Storm::alone(kills, 8)),
    ];
    if storm::kills_groups()? {
        let groups = Storm::groups(kills / 3);
        storms.push((format!("{}, in groups of 3", groups.kills()), groups));
    } else {
        section.note("No group kills: cgroup v1 has no `memory.oom.group`.");
    }
    for (shape, storm) in storms {
        eprintln!("bench: {shape}, beside the alternatives");
        let before = cpu_of(&daemon, &running)?;
        let raged = storm.rage(hog)?;
        let own = of_made(daemon.log.take_after(REST), &raged.made);
        let after = cpu_of(&daemon, &running)?;
        let accounts = [("oom-probe", daemon.process(), own.clone())].into_iter();
        let accounts = accounts.chain(running.iter().map(|rival| {
            let told = of_made(with_pids(rival.take(), &raged.made), &raged.made);
            (rival.name, rival.process(), told)
        }));
        for ((name, process, told), cpu) in accounts.zip(after.iter().zip(&before)) {
            let account = Account::of(&raged.made, &told);
            let cpu = cpu.0.since(*cpu.1).all / storm.kills();
            section.row([
                name.to_owned(),
                shape.clone(),
                account.text(),
                Spread::of(delays(&told, &own)).map_or_else(String::new, |all| all.to_string()),
                mib(process.memory()?.resident),
                ms(cpu),
            ]);
        }
    }
    Ok(section)
}

fn cpu_of(daemon: &Daemon, running: &[Running]) -> Result<Vec<Cpu>> {
    let rivals = running.iter().map(Running::process);
    [daemon.process()]
        .into_iter()
        .chain(rivals)
        .map(Process::cpu)
        .collect()
}

/// Whoever counts knows a kill by its cgroup only: each is of another process there, until there are
/// no more.
fn with_pids(mut told: Vec<Told>, made: &[Made]) -> Vec<Told> {
    let mut given: HashMap<String, usize> = HashMap::new();
    for told in told.iter_mut().filter(|told| told.pid == 0) {
        let Some(cgroup) = &told.cgroup else { continue };
        let mut there = made.iter().filter(|made| made.cgroup == *cgroup);
        let given = given.entry(cgroup.clone()).or_default();
        let found = there.clone().nth(*given).or_else(|| there.next_back());
        told.pid = found.map_or(0, |made| made.pid);
        *given += 1;
    }
    told
}

/// Somebody else's kills on this machine left out.
fn of_made(mut told: Vec<Told>, made: &[Made]) -> Vec<Told> {
    let pids: HashSet<u32> = made.iter().map(|made| made.pid).collect();
    told.retain(|told| pids.contains(&told.pid));
    told
}

/// The kernel's time of each kill is in the daemon's account. Who looks at the choice of the victim
/// tells before the mark: that is no delay.
fn delays(told: &[Told], own: &[Told]) -> Vec<Duration> {
    let killed = |pid| own.iter().find(|kill| kill.pid == pid)?.killed;
    told.iter()
        .filter_map(|told| {
            Some(
                told.seen
                    .duration_since(killed(told.pid)?)
                    .unwrap_or_default(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn who_tells_before_the_mark_has_no_delay() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let told = |pid, killed, seen| Told {
            pid,
            cgroup: None,
            killed,
            seen: at(seen),
        };
        let own = [told(1, Some(at(10)), 12), told(2, Some(at(20)), 23)];
        let theirs = [told(1, None, 9), told(2, None, 24), told(3, None, 30)];
        assert_eq!(delays(&theirs, &own), [0, 4].map(Duration::from_millis));
    }

    #[test]
    fn kills_known_by_their_cgroup_get_the_pids_that_were_killed_there() {
        let told = |pid, cgroup: &str| Told {
            pid,
            cgroup: Some(cgroup.into()),
            killed: None,
            seen: SystemTime::UNIX_EPOCH,
        };
        let made = [(7, "/a"), (8, "/a"), (9, "/c")].map(|(pid, cgroup)| Made {
            pid,
            cgroup: cgroup.into(),
        });
        let counted = ["/a", "/b", "/a", "/a"].map(|cgroup| told(0, cgroup));
        let all = [counted.to_vec(), vec![told(3, "/a")]].concat();
        let pids: Vec<_> = with_pids(all, &made).iter().map(|told| told.pid).collect();
        // The kernel may count a group's first victim twice; nothing was made in /b.
        assert_eq!(pids, [7, 0, 8, 8, 3]);
    }
}
