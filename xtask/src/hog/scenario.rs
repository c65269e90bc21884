//! `cargo xtask hog NAME`: a scenario's pod in plain cgroups. Containers are started again as a
//! kubelet would, though sooner.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hog::cgroup::{Cgroup, Hierarchy};
use hog::scenario::{Container, Scenario, Stage};
use hog::units::format_size;
use signal_hook::iterator::Signals;

/// Before the first restart; each further one waits twice as long. A kubelet's is 10 s.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Runs the scenario until its containers have had their starts, the time is over or a signal
/// comes.
///
/// # Errors
/// A cgroup cannot be had, or the hog cannot be started.
pub(super) fn run(
    scenario: &'static Scenario,
    program: &Path,
    name: &Path,
    limit: Option<u64>,
    time: Option<Duration>,
) -> Result<()> {
    let signals = super::signals()?;
    let stage = Stage::set(&Hierarchy::detect()?, name, scenario, limit)?;
    eprintln!("hog: {}: {}", scenario.name, scenario.happens);
    for (container, cgroup) in stage.containers() {
        let limit = match cgroup.limit()? {
            Some(limit) => format!("limit {}", format_size(limit)),
            None => "no limit of its own".to_owned(),
        };
        let arguments = container.arguments.join(" ");
        let path = cgroup.path().display();
        eprintln!(
            "hog: {}: `hog {arguments}` in {path} ({limit})",
            container.name
        );
    }

    let running = Running::default();
    let handle = signals.handle();
    let outcome = thread::scope(|scope| {
        scope.spawn(|| stop_at_a_signal(signals, &running));
        let containers: Vec<_> = stage
            .containers()
            .map(|(container, cgroup)| {
                scope.spawn(|| {
                    supervise(container, cgroup, program, &running).inspect_err(|_| running.stop())
                })
            })
            .collect();
        if let Some(time) = time {
            running.stop_after(time, || {
                containers.iter().all(thread::ScopedJoinHandle::is_finished)
            });
        }
        let outcome = containers
            .into_iter()
            .try_for_each(|container| container.join().expect("a supervisor does not panic"));
        handle.close();
        outcome
    });
    let kills = stage.oom_kill_count()?;
    stage.remove()?;
    outcome?;
    eprintln!(
        "hog: {}: {kills} OOM {} counted by the kernel",
        scenario.name,
        if kills == 1 { "kill" } else { "kills" }
    );
    Ok(())
}

fn stop_at_a_signal(mut signals: Signals, running: &Running) {
    if signals.forever().next().is_some() {
        running.stop();
    }
}

/// Starts the container as often as it has starts.
fn supervise(
    container: &Container,
    cgroup: &Cgroup,
    program: &Path,
    running: &Running,
) -> Result<()> {
    let name = container.name;
    let mut back_off = BACK_OFF;
    for start in 1..=container.starts {
        let began = Instant::now();
        let Some(status) = once(container, cgroup, program, running)? else {
            return Ok(());
        };
        let took = began.elapsed().as_secs_f64();
        let again = if start < container.starts {
            format!("; starts again in {} s", back_off.as_secs())
        } else {
            String::new()
        };
        eprintln!("hog: {name}: {} after {took:.1} s{again}", ended(status));
        if start < container.starts && running.stopped_within(back_off) {
            return Ok(());
        }
        back_off *= 2;
    }
    Ok(())
}

/// One life of the container; none if it was to stop before that began.
fn once(
    container: &Container,
    cgroup: &Cgroup,
    program: &Path,
    running: &Running,
) -> Result<Option<ExitStatus>> {
    let mut command = container.command(program);
    if std::env::var_os("HOG_LISTEN").is_none() {
        command.env("HOG_LISTEN", "127.0.0.1:0");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = {
        // Held while it starts, so that a signal finds it in the list or is seen before.
        let mut state = running.state();
        if state.stopped {
            return Ok(None);
        }
        let child = cgroup.spawn(command)?;
        state.pids.insert(child.id().cast_signed());
        child
    };
    let stdout = child.stdout.take().context("the hog has no output")?;
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        println!("[{}] {line}", container.name);
    }
    // Taken out before it is reaped, so that no signal can reach another process of its id.
    let pid = child.id().cast_signed();
    wait_without_reaping(pid);
    running.state().pids.remove(&pid);
    Ok(Some(child.wait().context("cannot wait for the hog")?))
}

fn wait_without_reaping(pid: i32) {
    let options = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: all zeroes is a value of siginfo_t, which outlives the call and is not read.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, pid.cast_unsigned(), &raw mut info, options);
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(libc::SIGKILL)) => "killed by SIGKILL".to_owned(),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
    }
}

/// What runs, and whether it is to stop.
#[derive(Default)]
struct Running {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pids: BTreeSet<i32>,
    stopped: bool,
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all that runs to end, and nothing to start.
    fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for &pid in &state.pids {
            // SAFETY: kill(2) takes no pointer; a pid in the list is that of a child not yet reaped.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        self.changed.notify_all();
    }

    /// Sleeps; true if it was to stop before that was over.
    fn stopped_within(&self, time: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), time, |state| !state.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        state.stopped
    }

    fn stop_after(&self, time: Duration, is_over: impl Fn() -> bool) {
        const LOOK: Duration = Duration::from_millis(50);
        let end = Instant::now() + time;
        while Instant::now() < end && !is_over() {
            if self.stopped_within(LOOK) {
                return;
            }
        }
        self.stop();
    }
}
