//! A daemon under measurement.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use super::kernel::{self, Program};
use super::log::Log;
use super::process::Process;
use super::share::Share;

/// `oom-probe run` on a port of its own, with its log as JSON; ended when dropped.
pub(super) struct Daemon {
    child: Child,
    /// Kept open: the daemon would get EPIPE.
    _stderr: BufReader<ChildStderr>,
    pub(super) start: Start,
    pub(super) address: SocketAddr,
    pub(super) log: Log,
    /// Removed after the process has ended.
    _share: Option<Share>,
}

/// One start, for whoever splits it.
pub(super) struct Start {
    pub(super) began: SystemTime,
    /// All that it said until it was armed.
    pub(super) said: String,
}

impl Daemon {
    /// Starts it as a service, with these flags more, and waits until it is armed.
    pub(super) fn start(program: &Path, flags: &[&str]) -> Result<Self> {
        Self::start_in(Share::new("daemon", None)?, program, flags)
    }

    /// The same with another share of the CPUs.
    pub(super) fn start_in(share: Option<Share>, program: &Path, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        if let Some(share) = &share {
            share.join(&mut command)?;
        }
        let began = SystemTime::now();
        let mut child = command
            .args(["run", "--no-pin", "--kubernetes", "off"])
            .args(["--output", "json", "--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let stdout = child.stdout.take().context("its stdout is piped")?;
        let stderr = child.stderr.take().context("its stderr is piped")?;
        let mut stderr = BufReader::new(stderr);
        let mut said = String::new();
        let mut line = 0;
        while stderr.read_line(&mut said)? > 0 {
            if let Some(address) = address(&said[line..]) {
                return Ok(Self {
                    child,
                    _stderr: stderr,
                    start: Start { began, said },
                    address,
                    log: Log::follow(stdout),
                    _share: share,
                });
            }
            line = said.len();
        }
        child.wait()?;
        bail!("the daemon ended before it was armed:\n{said}")
    }

    pub(super) fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub(super) fn programs(&self) -> Result<Vec<Program>> {
        kernel::programs(self.child.id())
    }

    /// Stops it where it is, or lets it go on.
    pub(super) fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill has no preconditions; the child is not reaped yet, so the pid is its.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal(libc::SIGTERM);
        self.signal(libc::SIGCONT);
        let _ = self.child.wait();
    }
}

/// The address in the line that says that kills are captured.
fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    rest.split_once("/metrics")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_armed_line_names_the_address() {
        let line = "INFO capturing OOM kills, http://127.0.0.1:42001/metrics, armed in 9 ms";
        assert_eq!(address(line), "127.0.0.1:42001".parse().ok());
        assert_eq!(address("INFO hooks: raw_tp/mark_victim"), None);
    }
}
