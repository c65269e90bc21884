//! `cargo xtask hog`: one real OOM kill in a cgroup of its own, or a scenario, in cgroups that are
//! gone afterwards.

mod scenario;

use std::env;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hog::cgroup::{Cgroup, Hierarchy, Version};
use hog::scenario::{ALL, Scenario};
use hog::units::{format_size, parse_duration, parse_nonzero_size};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::{cmd, compile, sudo};

/// What to make run out of memory, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenario to run; `cargo xtask hog -- --list` explains them [default: one hog that grows]
    #[arg(conflicts_with = "mode", value_parser = parse_scenario)]
    scenario: Option<&'static Scenario>,
    /// Path of the cgroup to make, below the memory hierarchy's root [default: oom-probe-hog-PID]
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// Its memory limit [default: 32M, or the scenario's]
    #[arg(long, value_name = "SIZE", value_parser = parse_nonzero_size)]
    limit: Option<u64>,
    /// End a scenario after this time.
    #[arg(long = "for", value_name = "DURATION", requires = "scenario", value_parser = parse_duration)]
    time: Option<Duration>,
    /// The hog to run, instead of building it: sudo must not build.
    #[arg(long, value_name = "FILE", hide = true)]
    program: Option<PathBuf>,
    /// Mode of the hog and its options; see `cargo xtask hog -- --list` [default: grow]
    #[arg(last = true, value_name = "MODE")]
    mode: Vec<String>,
}

/// Without a scenario.
const LIMIT: u64 = 32 << 20;

fn parse_scenario(name: &str) -> Result<&'static Scenario, String> {
    hog::scenario::find(name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        format!("there are {}", names.join(", "))
    })
}

/// Runs the hog and says how it ended; success where a process of the cgroup was OOM-killed, else
/// the hog's own exit code.
///
/// # Errors
/// It cannot be built, or the cgroup cannot be had.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => compile::hog()?,
    };
    let mode = if args.mode.is_empty() {
        vec!["grow".to_owned()]
    } else {
        args.mode.clone()
    };
    if only_asks(&mode) {
        let status = Command::new(&program)
            .args(&mode)
            .status()
            .context("cannot run the hog")?;
        return Ok(exit_code(status));
    }
    if !cmd::is_root() {
        return again_as_root(args, &program, &mode);
    }

    let name = args
        .cgroup
        .clone()
        .unwrap_or_else(|| format!("oom-probe-hog-{}", std::process::id()).into());
    let hierarchy = Hierarchy::detect()?;
    if hierarchy.root.join(&name).exists() {
        bail!(
            "the cgroup {} exists; give another --cgroup, which is made and removed",
            name.display()
        );
    }
    if let Some(scenario) = args.scenario {
        scenario::run(scenario, &program, &name, args.limit, args.time)?;
        return Ok(ExitCode::SUCCESS);
    }
    // From here on Ctrl-C goes to the hog, so that the cgroup is removed after it.
    let signals = signals()?;
    let cgroup = Cgroup::create(&hierarchy, &name)?;
    let limit = args.limit.unwrap_or(LIMIT);
    cgroup.set_limit(limit)?;
    eprintln!(
        "hog: `hog {}` in {} ({}, limit {})",
        mode.join(" "),
        cgroup.path().display(),
        match hierarchy.version {
            Version::V1 => "cgroup v1",
            Version::V2 => "cgroup v2",
        },
        format_size(limit)
    );

    let start = Instant::now();
    let mut command = Command::new(&program);
    command.args(&mode);
    let mut child = cgroup.spawn(command)?;
    let forwarding = forward(signals, &child);
    let status = child.wait().context("cannot wait for the hog")?;
    forwarding.close();
    let (text, code) = verdict(status, cgroup.oom_kill_count()?, start.elapsed());
    cgroup.remove()?;
    eprintln!("hog: {text}");
    Ok(code)
}

/// Options that make the hog print something and end.
fn only_asks(mode: &[String]) -> bool {
    mode.iter().any(|argument| {
        matches!(
            argument.as_str(),
            "--help" | "-h" | "--list" | "--version" | "-V"
        )
    })
}

fn again_as_root(args: &Args, program: &PathBuf, mode: &[String]) -> Result<ExitCode> {
    let mut again = Command::new(env::current_exe().context("cannot find xtask's own program")?);
    again.arg("hog").arg("--program").arg(program);
    if let Some(limit) = args.limit {
        again.arg("--limit").arg(limit.to_string());
    }
    if let Some(cgroup) = &args.cgroup {
        again.arg("--cgroup").arg(cgroup);
    }
    if let Some(time) = args.time {
        again.arg("--for").arg(format!("{}ms", time.as_millis()));
    }
    match args.scenario {
        Some(scenario) => again.arg(scenario.name),
        None => again.arg("--").args(mode),
    };
    let mut command = sudo::as_root(again, "making a memory cgroup takes root");
    Err(command.exec()).with_context(|| format!("cannot run `{}`", cmd::shown(&command)))
}

fn signals() -> Result<Signals> {
    Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot catch signals")
}

/// Passes signals on until closed. The hog is this process' child and is reaped by it, so the pid
/// stays the hog's until then.
fn forward(mut signals: Signals, child: &Child) -> Handle {
    let handle = signals.handle();
    let pid = child.id().cast_signed();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // SAFETY: kill has no preconditions; at worst the process has just ended.
            unsafe { libc::kill(pid, signal) };
        }
    });
    handle
}

/// One line on how it ended, and the exit code.
fn verdict(status: ExitStatus, kills: u64, took: Duration) -> (String, ExitCode) {
    let took = format!("after {:.1} s", took.as_secs_f64());
    let killed = status.signal() == Some(libc::SIGKILL);
    let how = match status.code() {
        Some(code) => format!("exit code {code} {took}"),
        None => format!(
            "killed by signal {} {took}",
            status.signal().unwrap_or_default()
        ),
    };
    let counted = match kills {
        1 => "1 OOM kill".to_owned(),
        _ => format!("{kills} OOM kills"),
    };
    match (killed, kills) {
        (true, 0) => (
            format!("killed by SIGKILL {took}, not by the OOM killer"),
            exit_code(status),
        ),
        (true, 1) => (format!("killed by SIGKILL (OOM) {took}"), ExitCode::SUCCESS),
        (true, _) => (
            format!("killed by SIGKILL (OOM) {took}; {counted} counted"),
            ExitCode::SUCCESS,
        ),
        (false, 0) => (format!("{how}; no OOM kill"), exit_code(status)),
        (false, _) => (format!("{how}; {counted} in its cgroup"), ExitCode::SUCCESS),
    }
}

/// The exit code as a shell gives it: 128 and the signal's number for a death by signal.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_kill_is_a_success_and_all_else_is_the_hogs_own_exit() {
        let took = Duration::from_millis(1250);
        let cases = [
            (
                9,
                1,
                "killed by SIGKILL (OOM) after 1.2 s",
                ExitCode::SUCCESS,
            ),
            (9, 3, "after 1.2 s; 3 OOM kills counted", ExitCode::SUCCESS),
            (9, 0, "not by the OOM killer", ExitCode::from(137)),
            (
                137 << 8,
                2,
                "exit code 137 after 1.2 s; 2 OOM kills in its cgroup",
                ExitCode::SUCCESS,
            ),
            (
                0,
                0,
                "exit code 0 after 1.2 s; no OOM kill",
                ExitCode::SUCCESS,
            ),
            (2 << 8, 0, "no OOM kill", ExitCode::from(2)),
            (0, 1, "1 OOM kill in its cgroup", ExitCode::SUCCESS),
            (
                11,
                0,
                "killed by signal 11 after 1.2 s; no OOM kill",
                ExitCode::from(139),
            ),
        ];
        for (raw, kills, expected, code) in cases {
            let (text, exit) = verdict(ExitStatus::from_raw(raw), kills, took);
            assert!(text.contains(expected), "{text}");
            assert_eq!(exit, code, "{text}");
        }
    }

    #[test]
    fn questions_need_no_cgroup() {
        for (mode, expected) in [
            ("--list", true),
            ("grow --help", true),
            ("grow --max 1M", false),
        ] {
            let mode: Vec<_> = mode.split(' ').map(String::from).collect();
            assert_eq!(only_asks(&mode), expected, "{mode:?}");
        }
    }
}
