//! What the programs add to signals and to kills, by the kernel's own statistics.

use std::path::Path;

use anyhow::Result;

use super::daemon::Daemon;
use super::kernel::Program;
use super::section::{Budget, Section};
use super::storm::Storm;
use super::storms::SMALL_RING;
use super::sysctl::Sysctl;

const SIGNALS: u32 = 100_000;

/// More kills than a small ring holds.
const TO_FILL: u32 = 150;

const PER_SIGNAL: Budget = Budget {
    most: 0.1,
    text: "0.1 µs per signal of any kind",
};
/// Not in µs: code and data are as cold as the machine makes them between two kills.
const PER_KILL: Budget = Budget {
    most: 0.2,
    text: "0.2 % of the kill",
};
const WITH_WAKING: Budget = Budget {
    most: 0.5,
    text: "0.5 % of the kill",
};

/// What the programs did during some kills.
struct Measured(Vec<Program>);

impl Measured {
    fn kills(daemon: &Daemon, hog: &Path, kills: u32) -> Result<Self> {
        let before = daemon.programs()?;
        Storm::alone(kills, 1).rage(hog)?;
        let programs = daemon.programs()?;
        let programs = programs.iter().zip(&before);
        Ok(Self(
            programs
                .map(|(program, before)| program.since(before))
                .collect(),
        ))
    }

    /// µs of all programs for each mark: others' kills on this machine count on both sides.
    fn per_kill(&self) -> f64 {
        let marks = self
            .0
            .iter()
            .filter(|program| program.name == "mark_victim");
        let marks: u64 = marks.map(|program| program.runs).sum();
        self.0.iter().map(Program::all_us).sum::<f64>() / marks.max(1) as f64
    }

    /// One run of each program.
    fn runs(&self) -> String {
        let run = |program: &Program| format!("{} {:.2} µs", program.name, program.average_us());
        self.0.iter().map(run).collect::<Vec<_>>().join(", ")
    }
}

pub(super) fn measure(oom_probe: &Path, hog: &Path, kills: u32) -> Result<Section> {
    let mut section = Section::figures(
        "In the kernel",
        "`run_time_ns` and `run_cnt` of each program with `bpf_stats_enabled`, which costs a \
         little itself. A kill takes from the fork of its process to the removal of its cgroup. To \
         wake the daemon is the kernel's work, by an interrupt to the own CPU, which on a virtual \
         machine may be an exit to the hypervisor: so it is told apart, by kills that find the ring \
         full and wake nobody.",
    );
    let stats = Sysctl::bpf_stats()?;
    let daemon = Daemon::start(oom_probe, &[])?;
    eprintln!("bench: {SIGNALS} signals");
    signal_oneself();
    for program in daemon.programs()? {
        if program.name == "signal_generate" {
            let what = "per signal that is no SIGKILL of the kernel's";
            section.judged(what, program.text(), program.average_us(), PER_SIGNAL);
        }
    }
    eprintln!("bench: {kills} kills, with the kernel's statistics");
    let waking = Measured::kills(&daemon, hog, kills)?;
    drop(daemon);
    let quiet = without_waking(oom_probe, hog, kills)?;
    drop(stats);
    eprintln!("bench: {kills} kills without a daemon");
    let without = Storm::alone(kills, 1).rage(hog)?;

    let took = without.took.as_secs_f64() * 1e6 / f64::from(kills);
    let [own, all] = [&quiet, &waking].map(Measured::per_kill);
    let share = |us: f64| us * 100.0 / took;
    section.judged(
        "all programs, of what a kill takes without them",
        format!("{:.3} % ({own:.1} µs of {took:.0} µs)", share(own)),
        share(own),
        PER_KILL,
    );
    section.figure("… each run", quiet.runs());
    section.judged(
        "the same with waking the daemon",
        format!("{:.2} % ({all:.1} µs)", share(all)),
        share(all),
        WITH_WAKING,
    );
    section.figure("… each run", waking.runs());
    Ok(section)
}

/// Kills for which the programs do all but hand a record over: the ring is full, and what finds it
/// so wakes nobody (kernel/bpf/ringbuf.c `bpf_ringbuf_output`).
fn without_waking(oom_probe: &Path, hog: &Path, kills: u32) -> Result<Measured> {
    eprintln!("bench: {kills} kills into a full ring");
    let daemon = Daemon::start(oom_probe, &["--ring-size", SMALL_RING])?;
    daemon.signal(libc::SIGSTOP);
    let fill = Storm::alone(TO_FILL, 1).rage(hog);
    let measured = fill.and_then(|_| Measured::kills(&daemon, hog, kills));
    daemon.signal(libc::SIGCONT);
    measured
}

/// Sends this process signals that it ignores, as most signals of a machine are no OOM kills.
fn signal_oneself() {
    for _ in 0..SIGNALS {
        // SAFETY: raise has no preconditions; SIGURG is ignored unless somebody handles it.
        unsafe { libc::raise(libc::SIGURG) };
    }
}
