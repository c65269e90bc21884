//! What the kernel says about the daemon's programs.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The kernel takes the time of every run of every BPF program until this is dropped.
pub(super) struct Stats(String);

impl Stats {
    pub(super) fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("cannot write {SWITCH}"))?;
        Ok(Self(before))
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, &self.0) {
            eprintln!("bench: {SWITCH} is left at 1: {error}");
        }
    }
}

/// A program that is attached, and what it took so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// What it is attached to.
    pub(super) name: String,
    runs: u64,
    time: Duration,
}

impl Program {
    pub(super) fn text(&self) -> String {
        let average = self.time.as_nanos() as f64 / self.runs.max(1) as f64 / 1e3;
        format!("{average:.2} µs on average ({} runs)", self.runs)
    }

    pub(super) fn budget(&self) -> &'static str {
        match self.name.as_str() {
            "signal_generate" => "0.1 µs per signal of any kind",
            _ => "5 µs per kill",
        }
    }
}

/// The programs behind the links that a process holds, with `bpf_stats_enabled` in mind.
pub(super) fn programs(pid: u32) -> Result<Vec<Program>> {
    let directory = format!("/proc/{pid}/fdinfo");
    let mut texts = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {directory}"))? {
        // A descriptor may be closed in between.
        texts.extend(fs::read_to_string(entry?.path()));
    }
    Ok(join(&texts))
}

/// Links know what they are attached to, programs what they took; the id of the program is in both.
fn join(texts: &[String]) -> Vec<Program> {
    let infos: Vec<BTreeMap<_, _>> = texts.iter().map(|text| pairs(text)).collect();
    let number = |info: &BTreeMap<&str, &str>, name| info.get(name)?.parse::<u64>().ok();
    let links = infos.iter().filter(|info| info.contains_key("link_type"));
    links
        .filter_map(|link| {
            let id = link.get("prog_id")?;
            let program = infos
                .iter()
                .find(|info| info.contains_key("run_cnt") && info.get("prog_id") == Some(id))?;
            let name = link.get("tp_name").copied().unwrap_or("oom_kill_process");
            Some(Program {
                name: name.to_owned(),
                runs: number(program, "run_cnt")?,
                time: Duration::from_nanos(number(program, "run_time_ns")?),
            })
        })
        .collect()
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
        let texts = [
            "pos:\t0\nprog_type:\t17\nprog_id:\t7\nrun_time_ns:\t6000\nrun_cnt:\t2\n",
            "link_type:\traw_tracepoint\nlink_id:\t3\nprog_id:\t7\ntp_name:\tmark_victim\n",
            "prog_type:\t17\nprog_id:\t8\nrun_time_ns:\t9\nrun_cnt:\t1\n",
        ]
        .map(String::from);
        let programs = join(&texts);
        assert_eq!(
            programs,
            [Program {
                name: "mark_victim".into(),
                runs: 2,
                time: Duration::from_micros(6),
            }]
        );
        assert_eq!(programs[0].text(), "3.00 µs on average (2 runs)");
    }
}
