//! `cargo xtask test`: the gate, and with `--all` everything that can be tested here.
//!
//! The programs are compiled once. Then the emulated machines and the lints run on threads of their
//! own, beside the tests on this machine, half of whose time is waiting.

mod all;
mod lines;
mod list;
mod programs;
mod suite;
mod times;

use std::ffi::OsStr;
use std::process::ExitCode;
use std::thread;

use anyhow::{Result, bail};
use clap::Parser as _;

use self::programs::{Program, Programs, REAL_OOM};
use self::suite::Choice;
use self::times::Times;
use crate::lint::{self, Scope};
use crate::report::{Counts, Outcome, Report};
use crate::{cmd, compile, prerequisites, toolchain, tools, vm, whole};

/// Modules of tests that make real OOM kills, for which they need root.
const REAL: [&str; 3] = ["real_kills::", "scenarios::", "drill_local::"];

/// Kernels of the gate: the oldest, whose marks have but a pid; cgroup v1; locked down; the newest.
const GATE_KERNELS: [&str; 4] = ["5.10", "6.1-v1", "6.12-lockdown", "7.2"];

/// Lines of the list of slowest tests.
const SLOWEST: usize = 10;

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Everything: all kernels, release builds, containers, images, fuzz corpora, smoke runs of benches
    #[arg(long)]
    all: bool,
    /// List the tests, each with the seconds it took last, and run none
    #[arg(long)]
    list: bool,
    /// Without the emulated machines.
    #[arg(long)]
    no_vm: bool,
    /// Without real OOM kills on this machine.
    #[arg(long)]
    no_real: bool,
    /// Only the tests whose name contains this; leaves out the lints and the emulated machines
    filter: Option<String>,
}

/// What the steps share.
struct Run<'a> {
    args: &'a Args,
    programs: Programs,
    times: Times,
    report: Report,
}

/// Runs all steps, then prints the table; success if none failed.
///
/// # Errors
/// Something is missing that nothing can run without, or the tests do not compile.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.all && !whole::IS_HERE {
        return whole::run();
    }
    prerequisites::ensure()?;
    toolchain::ensure()?;
    let fetching = thread::spawn(fetching(args));
    let report = Report::default();
    let mut compiled = None;
    report.step("tests compile", || match Programs::compile() {
        Ok(programs) => {
            compiled = Some(programs);
            Outcome::Passed
        }
        Err(error) => Outcome::Failed(format!("{error:#}")),
    });
    let Some(mut programs) = compiled else {
        report.print();
        return Ok(report.exit_code());
    };
    if args.all && !args.list {
        // Real kills are made with what is shipped.
        report.step("release build", || {
            match compile::build(&compile::Args::for_tests()) {
                Ok(built) => {
                    programs.oom_probe = built.oom_probe;
                    programs.hog = built.hog;
                    Outcome::Passed
                }
                Err(error) => Outcome::Failed(format!("{error:#}")),
            }
        });
    }
    let run = Run {
        args,
        programs,
        times: Times::load()?,
        report,
    };
    if args.list {
        return list::print(&run).map(|()| ExitCode::SUCCESS);
    }
    let path = fetching.join().expect("it does not panic");
    run.steps(&path);
    run.finish()
}

/// Downloads what tests run, beside the compiler; gives the PATH with it.
fn fetching(args: &Args) -> impl FnOnce() -> std::ffi::OsString + Send + 'static {
    let kernels = kernels(args);
    let machines = machines_left_out(args).is_none() && !args.list;
    let tools = !args.list;
    move || {
        if machines && let Err(error) = vm::fetch(&kernels) {
            eprintln!("{error:#}");
        }
        if tools {
            tools::path()
        } else {
            std::ffi::OsString::new()
        }
    }
}

/// The emulated kernels to run; none stands for all.
fn kernels(args: &Args) -> Vec<String> {
    if args.all {
        Vec::new()
    } else {
        GATE_KERNELS.map(String::from).to_vec()
    }
}

impl Run<'_> {
    fn steps(&self, path: &OsStr) {
        thread::scope(|scope| {
            if self.args.filter.is_none() {
                scope.spawn(|| lint::steps(&self.report, self.scope()));
                scope.spawn(|| self.report.step("emulated machines", || self.machines()));
            }
            for program in &self.programs.tests {
                if !program.name.ends_with(REAL_OOM) {
                    self.report
                        .step(&program.name, || self.program(program, path));
                }
            }
            if let Some(program) = self.programs.real_oom() {
                self.report
                    .step("real OOM kills", || self.real_oom(program, path));
            }
        });
        if self.args.all {
            all::steps(self, path);
        }
    }

    fn scope(&self) -> Scope {
        if self.args.all {
            Scope::All
        } else {
            Scope::Gate
        }
    }

    fn program(&self, program: &Program, path: &OsStr) -> Outcome {
        let mut command = programs::command(program, &program.directory);
        programs::environment(&mut command, &self.programs, path);
        let without: &[&str] = if self.args.no_real { &REAL } else { &[] };
        let choice = Choice {
            filter: self.args.filter.as_deref(),
            without,
            ..Choice::default()
        };
        suite::run(program, command, choice, &self.times)
    }

    fn real_oom(&self, program: &Program, path: &OsStr) -> Outcome {
        if let Some(reason) = real_oom_left_out(self.args) {
            return Outcome::Skipped(reason.into());
        }
        let mut command = programs::command(program, &program.directory);
        programs::environment(&mut command, &self.programs, path);
        // One that is named runs wherever it can.
        let set = if self.args.all || self.args.filter.is_some() {
            "--set=all"
        } else {
            "--set=gate"
        };
        let choice = Choice {
            filter: self.args.filter.as_deref(),
            arguments: &[set],
            ..Choice::default()
        };
        suite::run(program, command, choice, &self.times)
    }

    /// The one scenario whose daemon is built with the kernel programs' messages.
    #[cfg(feature = "full")]
    fn messages(&self, path: &OsStr) -> Outcome {
        if let Some(reason) = real_oom_left_out(self.args) {
            return Outcome::Skipped(reason.into());
        }
        let program = match programs::with_messages() {
            Ok(program) => program,
            Err(error) => return Outcome::Failed(format!("{error:#}")),
        };
        let mut command = programs::command(&program, &program.directory);
        programs::environment(&mut command, &self.programs, path);
        let choice = Choice {
            filter: Some("kernel messages"),
            ..Choice::default()
        };
        suite::run(&program, command, choice, &self.times)
    }

    fn machines(&self) -> Outcome {
        if let Some(reason) = machines_left_out(self.args) {
            return Outcome::Skipped(reason.into());
        }
        match self.matrix() {
            Ok(Some(matrix)) => self.judge(&matrix),
            Ok(None) => Outcome::Failed("no machine ran".into()),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }

    fn matrix(&self) -> Result<Option<vm::Matrix>> {
        let Some(test) = self.programs.real_oom() else {
            bail!("the build made no program {REAL_OOM}")
        };
        let set = if self.args.all { "all" } else { "gate" };
        let Matrix { mut args } = Matrix::parse_from(["vm-test", "--set", set]);
        args.kernels = kernels(self.args);
        args.init = Some(self.programs.vm_init.clone());
        args.test_bin = Some(test.path.clone());
        args.programs = vec![
            ("oom-probe".into(), self.programs.oom_probe.clone()),
            ("hog".into(), self.programs.hog.clone()),
        ];
        vm::collect(&args)
    }

    /// Counts and times the scenarios, and shows the table.
    fn judge(&self, matrix: &vm::Matrix) -> Outcome {
        let mut counts = Counts::default();
        for (machine, scenario) in matrix.results() {
            match scenario.verdict {
                vm::Verdict::Passed => counts.passed += 1,
                vm::Verdict::Skipped(_) => counts.skipped += 1,
                vm::Verdict::Failed(_) => counts.failed += 1,
            }
            if let Some(seconds) = scenario.seconds {
                self.times
                    .note(format!("machine {machine}: {}", scenario.name), seconds);
            }
        }
        let problem = vm::conclude(matrix, None).err();
        Outcome::Tests(counts, problem.map(|error| format!("{error:#}")))
    }

    fn finish(&self) -> Result<ExitCode> {
        self.times.save()?;
        println!("\nslowest tests:");
        for (name, seconds) in self.times.slowest(SLOWEST) {
            println!("{seconds:8.1} s  {name}");
        }
        self.report.print();
        if let Some(filter) = &self.args.filter
            && self.report.tests_run() + self.report.counts().failed == 0
        {
            bail!("no test that could run here has `{filter}` in its name");
        }
        Ok(self.report.exit_code())
    }
}

/// The options of `cargo xtask vm-test`.
#[derive(Debug, clap::Parser)]
struct Matrix {
    #[command(flatten)]
    args: vm::Args,
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
    if !cfg!(target_arch = "x86_64") {
        return Some("the machines are x86-64, as the tests here are not");
    }
    let missing = cmd::which("apt-get").is_none();
    missing.then_some("their kernels come as packages of Debian, and there is no apt-get")
}
