//! What people would use instead, told of the same kills in the same storms.

mod bpftrace;
mod counters;
mod kernel_log;

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::daemon::Daemon;
use super::log::Told;
use super::priority;
use super::process::{Cpu, Process};
use super::section::Section;
use super::spread::{Spread, mib, ms};
use super::storm::{Account, Made, Storm};

/// How long one may take until it is ready: a compiler comes with some of them.
const READY: Duration = Duration::from_secs(20);
/// A poller's pause and some more.
const REST: Duration = Duration::from_millis(1500);

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

/// One that runs; ended when dropped.
struct Running {
    name: &'static str,
    child: Child,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Running {
    /// Waits until it is ready; else what it said.
    fn start(rival: &Rival) -> Result<Result<Self, String>> {
        let mut command = (rival.command)()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ok(Err(format!("{error}"))),
        };
        let stdout = child.stdout.take().context("its stdout is piped")?;
        let mut stderr = child.stderr.take().context("its stderr is piped")?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let ready = Arc::new(Mutex::new(false));
        follow(stdout, *rival, Arc::clone(&told), Arc::clone(&ready));
        let mut running = Self {
            name: rival.name,
            child,
            told,
        };
        let deadline = Instant::now() + READY;
        let is_ready = || *ready.lock().unwrap_or_else(PoisonError::into_inner);
        while !is_ready() && Instant::now() < deadline {
            if running.child.try_wait()?.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        // Some say so and fail a moment later.
        thread::sleep(Duration::from_secs(1));
        if running.child.try_wait()?.is_some() {
            let mut said = String::new();
            stderr.read_to_string(&mut said)?;
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            return Ok(Err(last.unwrap_or("it ended").to_owned()));
        }
        if !is_ready() {
            return Ok(Err("it never says that it is ready".to_owned()));
        }
        thread::spawn(move || {
            let mut rest = String::new();
            let _ = stderr.read_to_string(&mut rest);
        });
        Ok(Ok(running))
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended and been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(
    from: impl Read + Send + 'static,
    rival: Rival,
    told: Arc<Mutex<Vec<Told>>>,
    ready: Arc<Mutex<bool>>,
) {
    priority::measuring(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if line.starts_with(rival.ready) {
                *ready.lock().unwrap_or_else(PoisonError::into_inner) = true;
                continue;
            }
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            match (rival.parse)(&line) {
                Some(Line::Kill { pid, cgroup }) => told.push(Told {
                    pid: pid.unwrap_or(0),
                    cgroup,
                    killed: None,
                    seen: SystemTime::now(),
                }),
                Some(Line::Cgroup(path)) => {
                    if let Some(last) = told.last_mut() {
                        last.cgroup.get_or_insert(path);
                    }
                }
                None => {}
            }
        }
    });
}

/// Lets all of them and the daemon watch the same kills.
pub(super) fn measure(oom_probe: &Path, hog: &Path, kills: u32) -> Result<Section> {
    let mut section = Section::table(
        "What people would use instead",
        "All of them run at the same time and see the same kills, each in a cgroup of its own that \
         is removed at once; exact is who tells each kill once, with its cgroup. Delay is from the \
         kernel's clock at the mark to the line that tells of the kill. CPU is of the process and \
         what it starts, user and system.",
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
    for parallel in [1, 8] {
        eprintln!("bench: {kills} kills, {parallel} at a time, beside the alternatives");
        let before = cpu_of(&daemon, &running)?;
        let raged = Storm { kills, parallel }.rage(hog)?;
        let own = daemon.log.take_after(REST);
        if own.len() < raged.made.len() {
            bail!("the daemon tells of {} of {kills} kills", own.len());
        }
        let after = cpu_of(&daemon, &running)?;
        let accounts = [("oom-probe", daemon.process(), own.clone())].into_iter();
        let accounts = accounts.chain(running.iter().map(|rival| {
            let told = with_pids(rival.take(), &raged.made);
            (rival.name, Process(rival.child.id()), told)
        }));
        for ((name, process, told), cpu) in accounts.zip(after.iter().zip(&before)) {
            let account = Account::of(&raged.made, &told);
            let cpu = cpu.0.since(*cpu.1).all / kills;
            section.row([
                name.to_owned(),
                format!("{kills}, {parallel} at a time"),
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
    let rivals = running.iter().map(|rival| Process(rival.child.id()));
    [daemon.process()]
        .into_iter()
        .chain(rivals)
        .map(Process::cpu)
        .collect()
}

/// Whoever counts knows a kill by its cgroup only.
fn with_pids(mut told: Vec<Told>, made: &[Made]) -> Vec<Told> {
    for told in told.iter_mut().filter(|told| told.pid == 0) {
        let found = made
            .iter()
            .find(|made| Some(&made.cgroup) == told.cgroup.as_ref());
        told.pid = found.map_or(0, |made| made.pid);
    }
    told
}

/// The kernel's time of each kill is in the daemon's account.
fn delays(told: &[Told], own: &[Told]) -> Vec<Duration> {
    let killed = |pid| own.iter().find(|kill| kill.pid == pid)?.killed;
    told.iter()
        .filter_map(|told| told.seen.duration_since(killed(told.pid)?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_known_by_its_cgroup_gets_the_pid_that_was_killed_there() {
        let told = |pid, cgroup: &str| Told {
            pid,
            cgroup: Some(cgroup.into()),
            killed: None,
            seen: SystemTime::UNIX_EPOCH,
        };
        let made = [Made {
            pid: 7,
            cgroup: "/a".into(),
        }];
        let all = with_pids(vec![told(0, "/a"), told(0, "/b"), told(3, "/a")], &made);
        let pids: Vec<_> = all.iter().map(|told| told.pid).collect();
        assert_eq!(pids, [7, 0, 3]);
    }
}
