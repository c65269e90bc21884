//! `cargo xtask test`: everything that CI holds the project to, with a table at the end.

mod output;

use std::ffi::OsStr;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::compile::{self, Built};
use crate::report::{Counts, Outcome, Report};
use crate::{cmd, containers, image, lint, toolchain, tools, vm};

/// The tests that make real OOM kills: they need root, and the first one the built programs.
const REAL: [&str; 4] = ["real_oom", "real_kills", "scenarios", "drill_local"];

/// What to leave out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Without the emulated machines.
    #[arg(long)]
    no_vm: bool,
    /// Without real OOM kills on this machine.
    #[arg(long)]
    no_real: bool,
    /// Only the tests whose name contains this; leaves out the lints and the emulated machines
    filter: Option<String>,
}

/// The options of `cargo xtask vm-test`.
#[derive(Debug, Parser)]
struct Matrix {
    #[command(flatten)]
    args: vm::Args,
}

/// Runs all steps, then prints the table; success if none failed.
///
/// # Errors
/// The workspace cannot be read.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let others = test_targets(&workspace_metadata()?);
    let machines = machines_left_out(args);
    let compiled = if machines.is_none() && cfg!(target_arch = "x86_64") {
        Compiled::ForMachines
    } else {
        Compiled::Here
    };
    let filter = args.filter.as_deref();
    let mut report = Report::default();

    // First of all, so that everything below compiles with the kernel programs from the start.
    let toolchain = toolchain::ensure();
    if let Err(error) = &toolchain {
        eprintln!("{error:#}");
    }
    let real = real_oom_left_out(args);
    // Before their turn, beside the lints and compilers, since half of it waits for the network or for
    // one linker on one processor; done before the tests run, whose pace it would spoil.
    let programs = (real.is_none() || machines.is_none()).then(|| {
        thread::spawn(|| {
            toolchain.and_then(|()| compile::build(&compile::Args::for_tests().quiet()))
        })
    });
    let packages = machines.is_none().then(|| thread::spawn(vm::fetch_all));
    if filter.is_none() {
        lint::steps(&mut report);
    }
    report.step("tests compile", || {
        let mut cargo = without_tools(compiled);
        cargo.arg("--no-run");
        Outcome::of(cmd::run(&mut cargo))
    });
    let mut built = None;
    if let Some(programs) = programs {
        report.step("build", || {
            match programs.join().expect("it does not panic") {
                Ok(programs) => {
                    built = Some(programs);
                    Outcome::Passed
                }
                Err(error) => Outcome::Failed(format!("{error:#}")),
            }
        });
    }
    if let Some(Err(error)) = packages.map(|fetched| fetched.join().expect("it does not panic")) {
        eprintln!("{error:#}");
    }
    let path = tools::path();
    report.step("unit tests", || {
        tests(unit_tests(compiled, &others, &path), filter)
    });
    report.step("unit tests of xtask", || {
        let mut cargo = Compiled::Here.test();
        cargo.args(compile::TOOLS.iter().flat_map(|name| ["--package", name]));
        tests(cargo, filter)
    });
    report.step("doc tests", || {
        let mut cargo = without_tools(compiled);
        cargo.arg("--doc");
        tests(cargo, filter)
    });

    let run = |left_out: Option<&str>, job: &dyn Fn(&Built) -> Outcome| match (left_out, &built) {
        (Some(reason), _) => Outcome::Skipped(reason.into()),
        (None, None) => Outcome::Skipped("the build failed".into()),
        (None, Some(built)) => job(built),
    };
    report.step("real OOM kills", || {
        run(real, &|built| real_oom(compiled, built, &path, filter))
    });
    report.step("containers", || {
        run(real, &|built| containers::outcome(built, filter))
    });
    if filter.is_none() {
        report.step("image archives", || {
            run(real.and(machines), &image::check::outcome)
        });
        report.step("emulated machines", || run(machines, &emulated));
    }

    report.print();
    if let Some(filter) = filter
        && report.tests_run() + report.counts().failed == 0
    {
        bail!("no test that could run here has `{filter}` in its name");
    }
    Ok(if report.counts().failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn workspace_metadata() -> Result<serde_json::Value> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
    let output = cmd::cargo()
        .args(arguments)
        .stderr(Stdio::inherit())
        .output();
    serde_json::from_slice(&output.context("cannot run cargo metadata")?.stdout)
        .context("cargo metadata failed: is Cargo.lock up to date?")
}

/// The integration tests that run without root, by name.
fn test_targets(metadata: &serde_json::Value) -> Vec<String> {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .flat_map(|package| list(&package["targets"]))
        .filter(|target| list(&target["kind"]).iter().any(|kind| kind == "test"))
        .filter_map(|target| target["name"].as_str().map(String::from))
        .filter(|name| !REAL.contains(&name.as_str()))
        .collect()
}

/// What tests are compiled for.
#[derive(Clone, Copy)]
enum Compiled {
    Here,
    /// As the test that runs in the machines is: static, with all its dependencies. So these are
    /// compiled once for both.
    ForMachines,
}

impl Compiled {
    fn test(self) -> Command {
        let mut cargo = cmd::cargo();
        cargo.arg("test");
        if let Self::ForMachines = self {
            vm::for_machines(&mut cargo);
        }
        cargo.args(["--locked", "--no-fail-fast"]);
        cargo
    }
}

/// `cargo test` for all but the tools, which are compiled here already: this is one of them.
fn without_tools(compiled: Compiled) -> Command {
    let mut cargo = compiled.test();
    cargo.args(compile::TESTED);
    cargo
}

fn unit_tests(compiled: Compiled, others: &[String], path: &OsStr) -> Command {
    let mut cargo = without_tools(compiled);
    cargo.env("PATH", path);
    cargo.args(["--lib", "--bins", "--examples"]);
    for name in others {
        cargo.args(["--test", name]);
    }
    cargo
}

/// Runs tests, showing and counting what they print.
fn tests(mut command: Command, filter: Option<&str>) -> Outcome {
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    match output::follow(&mut command) {
        Ok((counts, succeeded)) => {
            // Failed tests are counted; what else can fail is told.
            let problem = (!succeeded && counts.failed == 0)
                .then(|| "ended before its tests did: see above".to_owned());
            Outcome::Tests(counts, problem)
        }
        Err(error) => Outcome::Tests(Counts::default(), Some(format!("{error:#}"))),
    }
}

fn real_oom_left_out(args: &Args) -> Option<&'static str> {
    if args.no_real {
        return Some("--no-real");
    }
    (!cmd::is_root()).then_some("not root: loading kernel programs and making cgroups take root")
}

fn machines_left_out(args: &Args) -> Option<&'static str> {
    if args.no_vm {
        return Some("--no-vm");
    }
    if args.filter.is_some() {
        return Some("a filter was given");
    }
    let missing = cmd::which("apt-get").is_none();
    missing.then_some("their kernels come as packages of Debian, and there is no apt-get")
}

fn real_oom(compiled: Compiled, built: &Built, path: &OsStr, filter: Option<&str>) -> Outcome {
    let mut cargo = without_tools(compiled);
    cargo
        .args(REAL.iter().flat_map(|name| ["--test", name]))
        .env("OOM_PROBE_BIN", &built.oom_probe)
        .env("HOG_BIN", &built.hog)
        .env("PATH", path);
    tests(cargo, filter)
}

fn emulated(built: &Built) -> Outcome {
    let Matrix { mut args } = Matrix::parse_from(["vm-test", "--set", "all"]);
    args.programs = vec![
        ("oom-probe".into(), built.oom_probe.clone()),
        ("hog".into(), built.hog.clone()),
    ];
    Outcome::of(vm::run(&args))
}

#[cfg(test)]
mod targets {
    use super::*;

    #[test]
    fn every_integration_test_but_those_for_root_runs_with_the_unit_tests() {
        let metadata = serde_json::json!({"packages": [
            {"targets": [{"kind": ["lib"], "name": "oom_probe"}, {"kind": ["test"], "name": "a"}]},
            {"targets": [{"kind": ["test"], "name": "real_oom"}, {"kind": ["test"], "name": "b"}]},
        ]});
        assert_eq!(test_targets(&metadata), ["a", "b"]);
    }
}
