//! `cargo xtask lint`: everything that judges the code without running it.

pub(crate) mod tools;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use self::tools::Tool;
use crate::report::{Outcome, Report};
use crate::{cmd, compile};

/// Every crate but the kernel programs, which compile only inside the daemon's build; the
/// compiler's warnings about them are shown there.
const HOST_CRATES: [&str; 4] = ["--workspace", "--exclude", "oom-probe-ebpf", "--locked"];

/// Where cargo-deny's advisories come from.
const ADVISORIES: &str = "https://github.com/rustsec/advisory-db";

/// `cargo xtask lint`.
pub(crate) fn run() -> ExitCode {
    let mut report = Report::default();
    steps(&mut report);
    report.print();
    if report.counts().failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs every lint as a step of the report.
pub(crate) fn steps(report: &mut Report) {
    report.step("format", || {
        with_component(
            "fmt",
            "rustfmt",
            cmd::cargo().args(["fmt", "--all", "--check"]),
        )
    });
    report.step("clippy", || {
        let everything = ["--all-targets", "--features", compile::MESSAGES];
        with_component("clippy", "clippy", &mut clippy(&everything))
    });
    report.step("clippy, as shipped", || {
        with_component("clippy", "clippy", &mut clippy(&[]))
    });
    report.step("docs", || {
        let mut doc = cmd::cargo();
        doc.arg("doc")
            .args(HOST_CRATES)
            .args(["--no-deps", "--document-private-items"]);
        Outcome::of(cmd::run(doc.env("RUSTDOCFLAGS", "-Dwarnings")))
    });
    report.step("spelling", || {
        with_tool(&Tool::TYPOS, |typos| {
            cmd::run(Command::new(typos).current_dir(cmd::workspace()))
        })
    });
    report.step("licences, bans, sources", || {
        with_tool(&Tool::CARGO_DENY, |deny| {
            check_dependencies(deny, &["licenses", "bans", "sources"])
        })
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

/// Without tests what the crates depend on has fewer features: then it is checked as for the docs.
fn clippy(what: &[&str]) -> Command {
    let mut clippy = cmd::cargo();
    clippy.arg("clippy").args(HOST_CRATES).args(what);
    clippy.args(["--", "-Dwarnings"]);
    clippy
}

/// Runs a cargo command that is a component of the toolchain, which a minimal one lacks.
fn with_component(subcommand: &str, component: &str, command: &mut Command) -> Outcome {
    let cargo = cmd::cargo().get_program().to_owned();
    if cmd::answer(cargo, &[subcommand, "--version"]).is_none() {
        return Outcome::Skipped(format!(
            "{component} is not installed: `rustup component add {component}`"
        ));
    }
    Outcome::of(cmd::run(command))
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
    cmd::run(command.args(checks))
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
