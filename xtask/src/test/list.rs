//! `cargo xtask test --list`: the tests by name, each with the seconds it took last.

use anyhow::Result;

use super::programs::{self, REAL_OOM};
use super::{Run, all, kernels, suite};
use crate::vm;

/// Prints a line for each test that [`super::run`] would run.
///
/// # Errors
/// A test program cannot be run.
pub(super) fn print(run: &Run<'_>) -> Result<()> {
    let mut names = Vec::new();
    for program in &run.programs.tests {
        let is_real_oom = program.name.ends_with(REAL_OOM);
        // In a machine the gate runs fewer scenarios.
        let list = |machine: Option<&String>| {
            let mut command = programs::command(program, &program.directory);
            if is_real_oom && !run.args.all {
                command.arg("--set=gate");
            }
            command.envs(machine.map(|machine| ("OOM_PROBE_VM", machine)));
            suite::list(program, command)
        };
        if is_real_oom {
            for machine in &vm::names(&kernels(run.args))? {
                let name = |test: String| format!("machine {machine}: {test}");
                names.extend(list(Some(machine))?.into_iter().map(name));
            }
        }
        let tests = list(None)?;
        names.extend(tests.iter().map(|test| format!("{}: {test}", program.name)));
    }
    if run.args.all {
        names.extend(all::names()?);
    }
    let filter = run.args.filter.as_deref().unwrap_or_default();
    names.retain(|name| name.contains(filter));
    for name in &names {
        let seconds = run.times.of(name);
        let seconds = seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2}"));
        println!("{seconds:>8}  {name}");
    }
    println!("{} tests", names.len());
    Ok(())
}
