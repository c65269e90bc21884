//! What the kernel says about the daemon's programs.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, Result};

/// A program that is attached, and what it took so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// What it is attached to.
    pub(super) name: String,
    pub(super) runs: u64,
    time: Duration,
}

impl Program {
    pub(super) fn text(&self) -> String {
        format!(
            "{:.2} µs on average ({} runs)",
            self.average_us(),
            self.runs
        )
    }

    /// All runs together, µs.
    pub(super) fn all_us(&self) -> f64 {
        self.time.as_nanos() as f64 / 1e3
    }

    pub(super) fn average_us(&self) -> f64 {
        self.all_us() / self.runs.max(1) as f64
    }

    /// What it took more than `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            name: self.name.clone(),
            runs: self.runs.saturating_sub(before.runs),
            time: self.time.saturating_sub(before.time),
        }
    }
}

/// The programs behind the links that a process holds, and what they took since
/// `bpf_stats_enabled`.
pub(super) fn programs(pid: u32) -> Result<Vec<Program>> {
    let directory = format!("/proc/{pid}/fdinfo");
    let mut programs = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {directory}"))? {
        // A descriptor may be closed in between.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        if let Some((name, id)) = link(&text) {
            let program = open(id).with_context(|| format!("cannot open program {id}"))?;
            let info = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
            let (runs, time) = stats(&fs::read_to_string(info)?).context("no statistics")?;
            programs.push(Program { name, runs, time });
        }
    }
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

/// `bpf(BPF_PROG_GET_FD_BY_ID)` (include/uapi/linux/bpf.h).
fn open(id: u32) -> io::Result<OwnedFd> {
    const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
    let attributes: [u32; 3] = [id, 0, 0];
    // SAFETY: the kernel reads as many bytes as it is told there are.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_GET_FD_BY_ID,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made it for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a link is attached to, and the id of its program.
fn link(text: &str) -> Option<(String, u32)> {
    let info = pairs(text);
    info.get("link_type")?;
    let name = info.get("tp_name").copied().unwrap_or("oom_kill_process");
    Some((name.to_owned(), info.get("prog_id")?.parse().ok()?))
}

fn stats(text: &str) -> Option<(u64, Duration)> {
    let info = pairs(text);
    let time = info.get("run_time_ns")?.parse().ok()?;
    Some((
        info.get("run_cnt")?.parse().ok()?,
        Duration::from_nanos(time),
    ))
}

fn pairs(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_by_the_tracepoint_of_its_link() {
        let text = "link_type:\traw_tracepoint\nlink_id:\t3\nprog_id:\t7\ntp_name:\tmark_victim\n";
        assert_eq!(link(text), Some(("mark_victim".into(), 7)));
        let program = "prog_type:\t17\nprog_id:\t7\nrun_time_ns:\t6000\nrun_cnt:\t2\n";
        assert_eq!(link(program), None);
        assert_eq!(stats(program), Some((2, Duration::from_micros(6))));
        assert_eq!(stats(text), None);
    }

    #[test]
    fn an_average_is_over_all_runs() {
        let program = Program {
            name: "mark_victim".into(),
            runs: 2,
            time: Duration::from_micros(6),
        };
        assert_eq!(program.text(), "3.00 µs on average (2 runs)");
    }
}
