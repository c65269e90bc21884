//! An alternative while it runs, and what it tells.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};

use super::super::log::Told;
use super::super::priority;
use super::super::process::Process;
use super::{Line, Rival};

/// How long one may take until it is ready: a compiler comes with some of them, which takes its time
/// in an emulated machine.
const READY: Duration = Duration::from_secs(180);

/// One that runs; ended when dropped.
pub(super) struct Running {
    pub(super) name: &'static str,
    child: Child,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Running {
    /// Waits until it is ready; else what it said.
    pub(super) fn start(rival: &Rival) -> Result<Result<Self, String>> {
        let mut command = match (rival.command)() {
            Ok(command) => command,
            Err(error) => return Ok(Err(format!("{error:#}"))),
        };
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
        if let Some(status) = running.child.try_wait()? {
            let mut said = String::new();
            stderr.read_to_string(&mut said)?;
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            return Ok(Err(
                last.map_or_else(|| format!("it ended with {status}"), str::to_owned)
            ));
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

    pub(super) fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub(super) fn take(&self) -> Vec<Told> {
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
