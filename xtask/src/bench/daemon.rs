//! A daemon under measurement.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::kernel::{self, Program};
use super::mib;

/// `oom-probe run` on a port of its own; ended when dropped.
pub(super) struct Daemon {
    child: Child,
    /// Kept open: the daemon would get EPIPE.
    _stderr: BufReader<ChildStderr>,
    /// From its start to the line that says it is armed.
    pub(super) started: Duration,
    pub(super) address: SocketAddr,
}

/// Resident memory, bytes.
pub(super) struct Memory {
    resident: u64,
    peak: u64,
    anon: u64,
    file: u64,
}

impl Daemon {
    /// Starts it and waits until it is armed.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let began = Instant::now();
        let mut child = Command::new(program)
            .args(["run", "--no-pin", "--output", "none"])
            .args(["--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let stderr = child.stderr.take().context("its stderr is piped")?;
        let mut stderr = BufReader::new(stderr);
        let (mut said, mut line) = (String::new(), String::new());
        while stderr.read_line(&mut line)? > 0 {
            if let Some(address) = address(&line) {
                return Ok(Self {
                    child,
                    started: began.elapsed(),
                    _stderr: stderr,
                    address,
                });
            }
            said.push_str(&std::mem::take(&mut line));
        }
        child.wait()?;
        bail!("the daemon ended before it was armed:\n{said}")
    }

    pub(super) fn memory(&self) -> Result<Memory> {
        let status = self.read("status")?;
        let bytes = |name| field(&status, name).map(|kib| kib * 1024);
        Ok(Memory {
            resident: bytes("VmRSS")?,
            peak: bytes("VmHWM")?,
            anon: bytes("RssAnon")?,
            file: bytes("RssFile")?,
        })
    }

    pub(super) fn voluntary_switches(&self) -> Result<u64> {
        field(&self.read("status")?, "voluntary_ctxt_switches")
    }

    /// Time on a CPU of its first thread, which does everything but write the log.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let text = self.read("schedstat")?;
        let first = text.split_whitespace().next();
        Ok(Duration::from_nanos(
            first.context("schedstat is empty")?.parse()?,
        ))
    }

    /// User time, in the kernel's ticks of 10 ms.
    pub(super) fn user_cpu(&self) -> Result<Duration> {
        let stat = self.read("stat")?;
        let fields = stat.rsplit(')').next().context("stat has no name")?;
        let ticks: u64 = fields
            .split_whitespace()
            .nth(11)
            .context("stat is short")?
            .parse()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    pub(super) fn programs(&self) -> Result<Vec<Program>> {
        kernel::programs(self.child.id())
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SAFETY: kill has no preconditions; the child is not reaped yet, so the pid is its.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) };
        let _ = self.child.wait();
    }
}

impl Memory {
    pub(super) fn now(&self) -> String {
        let [all, anon, file] = [self.resident, self.anon, self.file].map(mib);
        format!("{all:.1} MiB (anon {anon:.1}, file and ring {file:.1})")
    }

    pub(super) fn peak(&self) -> String {
        format!("{:.1} MiB", mib(self.peak))
    }
}

/// The address in the line that says that kills are captured.
fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    rest.split_once("/metrics")?.0.parse().ok()
}

/// A number of /proc/PID/status.
fn field(status: &str, name: &str) -> Result<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("/proc/PID/status has no {name}"))
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

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "VmRSSx:\t1 kB\nVmRSS:\t 7424 kB\n";
        assert_eq!(field(status, "VmRSS").ok(), Some(7424));
        assert!(field(status, "VmHWM").is_err());
    }
}
