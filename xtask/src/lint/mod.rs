//! `cargo xtask lint`: everything that judges the code without running it.

pub(crate) mod tools;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use self::tools::Tool;
use crate::cmd;
use crate::report::{Outcome, Report};

/// Every crate but the kernel programs, which compile only inside the daemon's build; the
/// compiler's warnings about them are shown there.
const HOST_CRATES: [&str; 4] = ["--workspace", "--exclude", "oom-probe-ebpf", "--locked"];

/// Where cargo-deny's advisories come from.
const ADVISORIES: &str = "https://github.com/rustsec/advisory-db";

/// `cargo xtask lint`.
pub(crate) fn run() -> ExitCode {
    let report = Report::default();
    steps(&report, Scope::All);
    report.print();
    report.exit_code()
}

/// How many of the lints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What the gate has time for.
    Gate,
    All,
}

/// Runs every lint as a step of the report.
pub(crate) fn steps(report: &Report, scope: Scope) {
    report.step("format", || {
        with_component(
            "fmt",
            "rustfmt",
            cmd::cargo().args(["fmt", "--all", "--check"]),
        )
    });
    report.step("spelling", || {
        with_tool(&Tool::TYPOS, |typos| {
            cmd::run_quietly(Command::new(typos).current_dir(cmd::workspace()))
        })
    });
    report.step("licences, bans, sources", || {
        with_tool(&Tool::CARGO_DENY, |deny| {
            check_dependencies(deny, &["licenses", "bans", "sources"])
        })
    });
    // Once, over all targets and features: what no feature is on for is compiled by the tests, whose
    // warnings are errors too.
    report.step("clippy", || {
        let mut clippy = cmd::cargo();
        clippy.arg("clippy").args(HOST_CRATES);
        clippy.args(["--all-targets", "--all-features", "--", "-Dwarnings"]);
        // The kernel programs are compiled for the tests; the lint needs none.
        clippy.env("OOM_PROBE_EBPF", "stub");
        with_component("clippy", "clippy", &mut clippy)
    });
    if scope == Scope::Gate {
        return;
    }
    report.step("docs", || {
        let mut doc = cmd::cargo();
        doc.arg("doc")
            .args(HOST_CRATES)
            .args(["--no-deps", "--document-private-items"]);
        Outcome::of(cmd::run_quietly(doc.env("RUSTDOCFLAGS", "-Dwarnings")))
    });
    report.step("advisories", || {
        if !advisories_reachable() {
            return Outcome::Skipped(format!("{ADVISORIES} cannot be reached from here"));
        }
        with_tool(&Tool::CARGO_DENY, |deny| {
            check_dependencies(deny, &["advisories"])
        })
    });
}

/// Runs a cargo command that is a component of the toolchain, which a minimal one lacks.
fn with_component(subcommand: &str, component: &str, command: &mut Command) -> Outcome {
    let cargo = cmd::cargo().get_program().to_owned();
    if cmd::answer(cargo, &[subcommand, "--version"]).is_none() {
        return Outcome::Skipped(format!(
            "{component} is not installed: `rustup component add {component}`"
        ));
    }
    Outcome::of(cmd::run_quietly(command))
}

/// Runs a check by a tool that is got first if need be; one that cannot be had is skipped.
fn with_tool(tool: &Tool, check: impl FnOnce(&Path) -> Result<()>) -> Outcome {
    match tool.ensure() {
        Ok(path) => Outcome::of(check(&path)),
        Err(error) => Outcome::Skipped(format!("{} cannot be had: {error:#}", tool.name)),
    }
}

fn check_dependencies(deny: &Path, checks: &[&str]) -> Result<()> {
    let mut command = Command::new(deny);
    command
        .current_dir(cmd::workspace())
        .args(["--log-level", "error", "check"]);
    command.args(["--hide-inclusion-graph", "--allow", "duplicate"]);
    cmd::run_quietly(command.args(checks))
}

fn advisories_reachable() -> bool {
    let git = [
        "-c",
        "http.lowSpeedLimit=1",
        "-c",
        "http.lowSpeedTime=10",
        "ls-remote",
        "--exit-code",
        ADVISORIES,
        "HEAD",
    ];
    cmd::answer("timeout", &[&["20", "git"][..], &git].concat()).is_some()
}
