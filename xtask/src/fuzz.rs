//! `cargo xtask fuzz`: the fuzz targets, for a bounded time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::cmd;
use crate::lint::tools::Tool;
use crate::report::{Outcome, Report};

/// What to run, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this target: ring, cgroup_path, btf, …
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Add the inputs that reached new code to the corpus in the repository.
    #[arg(long)]
    keep: bool,
}

/// Megabytes of memory at which an input counts as a finding: the daemon is to stay below a
/// fraction of it, whatever it is sent.
const MEMORY_MB: u32 = 512;
/// Seconds after which an input counts as one that hangs.
const HANGS_AFTER: u32 = 5;
/// Bytes of an input: more than the largest of any corpus.
const MAX_INPUT: u32 = 32 << 10;

/// Runs the targets one after another; success if none found anything.
///
/// # Errors
/// There is no target of that name, or cargo-fuzz cannot be had.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let all = targets()?;
    let chosen: Vec<_> = match &args.target {
        None => all,
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => bail!("no target `{name}`: there are {}", all.join(", ")),
    };
    let cargo_fuzz = Tool::CARGO_FUZZ.ensure()?;
    let report = Report::default();
    report.step("build", || {
        Outcome::of(cmd::run(&mut build(&cargo_fuzz, args)))
    });
    if report.counts().failed == 0 {
        for target in &chosen {
            report.step(target, || Outcome::of(fuzz(&cargo_fuzz, target, args)));
        }
    }
    report.print();
    Ok(report.exit_code())
}

/// Runs each target once over the inputs in the repository.
///
/// # Errors
/// cargo-fuzz cannot be had, a target does not compile, or an input is a finding.
#[cfg(feature = "full")]
pub(crate) fn corpora() -> Result<()> {
    let cargo_fuzz = Tool::CARGO_FUZZ.ensure()?;
    for target in targets()? {
        let corpus = directory().join("corpus").join(&target);
        let mut run = libfuzzer(&cargo_fuzz, &target, &[&corpus]);
        cmd::run_quietly(run.arg("-runs=0"))?;
    }
    Ok(())
}

fn directory() -> PathBuf {
    cmd::workspace().join("fuzz")
}

/// The names of all targets, those of their programs.
pub(crate) fn targets() -> Result<Vec<String>> {
    let programs = directory().join("fuzz_targets");
    let entries =
        fs::read_dir(&programs).with_context(|| format!("cannot read {}", programs.display()))?;
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn fuzz(cargo_fuzz: &Path, target: &str, args: &Args) -> Result<()> {
    let corpus = directory().join("corpus").join(target);
    let found = target_dir().join("found").join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    // New inputs go to the first directory.
    let mut run = libfuzzer(cargo_fuzz, target, &[&found, &corpus]);
    run.arg(format!("-max_total_time={}", args.seconds));
    cmd::run(&mut run)?;
    if args.keep {
        let mut merge = libfuzzer(cargo_fuzz, target, &[&corpus, &found]);
        cmd::run(merge.arg("-merge=1"))?;
    }
    Ok(())
}

/// Where the programs and what they find are kept: builds with coverage counters would throw out
/// the ordinary ones.
fn target_dir() -> PathBuf {
    cmd::target_dir().join("fuzz")
}

/// A command of cargo-fuzz. Without a sanitizer, which only a nightly compiler has: what is fuzzed
/// is safe code, and a panic, a hang or a large allocation is what there is to find. The kernel
/// programs have no part in it.
fn cargo_fuzz(program: &Path, command: &str) -> Command {
    let mut cargo = Command::new(program);
    cargo
        .args(["fuzz", command, "--sanitizer", "none", "--fuzz-dir"])
        .arg(directory())
        .env("CARGO_TARGET_DIR", target_dir())
        .env("OOM_PROBE_EBPF", "stub")
        .current_dir(cmd::workspace());
    cargo
}

fn build(program: &Path, args: &Args) -> Command {
    let mut cargo = cargo_fuzz(program, "build");
    cargo.args(&args.target);
    cargo
}

fn libfuzzer(program: &Path, target: &str, corpora: &[&Path]) -> Command {
    let mut cargo = cargo_fuzz(program, "run");
    cargo.arg(target).args(corpora).args([
        "--".to_owned(),
        format!("-rss_limit_mb={MEMORY_MB}"),
        format!("-malloc_limit_mb={MEMORY_MB}"),
        format!("-timeout={HANGS_AFTER}"),
        format!("-max_len={MAX_INPUT}"),
        "-print_final_stats=1".to_owned(),
    ]);
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_the_programs_of_the_fuzz_package() {
        let names = targets().unwrap();
        let manifest = fs::read_to_string(directory().join("Cargo.toml")).unwrap();
        for name in &names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
        assert_eq!(names.len(), manifest.matches("[[bin]]").count());
    }
}
