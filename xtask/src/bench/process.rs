//! What a process costs, by /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A process that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(pub(super) u32);

/// Of /proc/PID/status, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) resident: u64,
    pub(super) peak: u64,
}

/// Time on a CPU of all threads that live.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    pub(super) user: Duration,
    pub(super) all: Duration,
}

impl Process {
    pub(super) fn memory(self) -> Result<Memory> {
        let status = self.read("status")?;
        let bytes = |name| field(&status, name).map(|kib| kib * 1024);
        Ok(Memory {
            resident: bytes("VmRSS")?,
            peak: bytes("VmHWM")?,
        })
    }

    /// All of the CPU to the nanosecond, user time in the kernel's ticks of 10 ms.
    pub(super) fn cpu(self) -> Result<Cpu> {
        let tasks = format!("/proc/{}/task", self.0);
        let mut ran = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
            // A thread may end in between.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                let first = text.split_whitespace().next();
                ran += first.context("schedstat is empty")?.parse::<u64>()?;
            }
        }
        Ok(Cpu {
            user: user_time(&self.read("stat")?)?,
            all: Duration::from_nanos(ran),
        })
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

impl Cpu {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            all: self.all.saturating_sub(before.all),
        }
    }
}

/// A number of /proc/PID/status.
fn field(status: &str, name: &str) -> Result<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("/proc/PID/status has no {name}"))
}

/// The field `utime` of /proc/PID/stat; a name may have spaces and parentheses.
fn user_time(stat: &str) -> Result<Duration> {
    let fields = stat.rsplit(')').next().context("stat has no name")?;
    let utime = fields.split_whitespace().nth(11);
    let ticks: u64 = utime.context("stat is short")?.parse()?;
    Ok(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "VmRSSx:\t1 kB\nVmRSS:\t 7424 kB\n";
        assert_eq!(field(status, "VmRSS").ok(), Some(7424));
        assert!(field(status, "VmHWM").is_err());
    }

    #[test]
    fn user_time_is_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 1 1 0 -1 4194560 100 0 0 0 12 5 0 0 20 0 1 0 9";
        assert_eq!(user_time(stat).unwrap(), Duration::from_millis(120));
        assert!(user_time("7 (a) S 1").is_err());
    }
}
