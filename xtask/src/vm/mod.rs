//! `cargo xtask vm-test`: boots real kernels under emulation and runs the real-OOM test on each.
//!
//! The way of one run: [`fetch`] has the kernels and QEMU in a cache, [`build`] makes the static
//! programs, [`initramfs`] packs them, [`machine`] boots each kernel of the [`catalogue`],
//! [`serial`] reads what it said, [`matrix`] puts it together, [`report`] shows it. A machine whose
//! test has left something for its next boot is started a second time, with that. What runs
//! something else than the test in one machine uses [`single`].

mod args;
mod build;
mod catalogue;
mod cpio;
mod facts;
mod fetch;
mod initramfs;
mod machine;
mod matrix;
mod plan;
mod qemu;
mod report;
mod serial;
mod single;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub(crate) use args::Args;
pub(crate) use build::for_machines;
use fetch::Cache;
use initramfs::Contents;
use machine::{Ended, Job};
use matrix::Column;
pub(crate) use matrix::Matrix;
use plan::{Facts, Kernel, Planned};
use qemu::{Memory, Qemu};
pub(crate) use serial::Verdict;
pub(crate) use single::{Guest, Machine};

use crate::{cmd, compile};

/// Runs the matrix and shows it.
///
/// # Errors
/// Something is missing to run it, or not everything in it is right.
pub(crate) fn run(args: &Args) -> Result<()> {
    match collect(args)? {
        Some(matrix) => conclude(
            &matrix,
            args.report
                .then(|| cmd::workspace().join("docs/compatibility.md")),
        ),
        None => Ok(()),
    }
}

/// Runs the matrix; `None` where only facts were recorded.
///
/// # Errors
/// Something is missing to run it.
pub(crate) fn collect(args: &Args) -> Result<Option<Matrix>> {
    let (root, _lock) = home()?;
    let planned = plan::machines(&args.kernels, &args.vmlinuz, &args.names)?;
    let cache = Cache::open(args.mirror.clone())?;
    let kernels = planned
        .iter()
        .map(|planned| match &planned.kernel {
            Kernel::Package(image) => cache.kernel(image),
            Kernel::File(file) => {
                fs::canonicalize(file).with_context(|| format!("--vmlinuz {}", file.display()))
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let qemu = choose_qemu(args.qemu.as_deref(), &cache)?;
    drop(cache);
    let initrd = root.join("initramfs.cpio");
    initramfs::write(&contents(args)?, &initrd)?;

    let facts = if args.facts { Facts::Send } else { Facts::Keep };
    let jobs: Vec<Job<'_>> = planned
        .iter()
        .zip(&kernels)
        .map(|(planned, kernel)| Job {
            kernel,
            initrd: &initrd,
            cmdline: planned.cmdline(facts),
            memory: Memory::Small,
            dir: root.join("run").join(&planned.name),
            timeout: Duration::from_secs(args.timeout),
            rank: planned.rank(),
        })
        .collect();
    let ended = machine::run_all(&qemu, &jobs, args.at_once());
    if facts == Facts::Send {
        record(&planned, ended, &root.join("facts"))?;
        return Ok(None);
    }
    let second = start_again(&qemu, &jobs, &ended, args.at_once())?;
    let columns = planned
        .iter()
        .zip(ended.into_iter().zip(second))
        .map(|(planned, (first, second))| {
            let first = column(planned, first, args.timeout);
            match second {
                Some(second) => first.again(column(planned, second, args.timeout)),
                None => first,
            }
        })
        .collect();
    Ok(Some(Matrix::new(columns)))
}

/// Downloads what [`run`] needs for these kernels, for all where none is named, ahead of it.
///
/// # Errors
/// A package cannot be downloaded; [`run`] tries again and reports it.
pub(crate) fn fetch(kernels: &[String]) -> Result<()> {
    let cache = Cache::open(std::env::var(args::MIRROR).ok())?;
    for planned in plan::machines(kernels, &[], &[])? {
        if let Kernel::Package(image) = planned.kernel {
            cache.kernel(image)?;
        }
    }
    choose_qemu(None, &cache).map(drop)
}

/// The names of these machines, of all where none is given.
///
/// # Errors
/// There is none of that name.
pub(crate) fn names(kernels: &[String]) -> Result<Vec<String>> {
    let planned = plan::machines(kernels, &[], &[])?;
    Ok(planned.into_iter().map(|planned| planned.name).collect())
}

/// Where machines run, and the right to run them there until the file is dropped.
fn home() -> Result<(PathBuf, File)> {
    let root = cmd::target_dir().join("vm");
    fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
    let lock = lock(&root.join("lock"))?;
    Ok((root, lock))
}

/// One at a time, until the file is dropped.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!(
            "vm-test: waiting for another run, which has {}",
            path.display()
        );
        file.lock()
            .with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}

fn choose_qemu(given: Option<&Path>, cache: &Cache) -> Result<Qemu> {
    match given {
        Some(path) => Qemu::at(path),
        None => Qemu::on_path().map_or_else(|| Ok(Qemu::Unpacked(cache.qemu_root()?)), Ok),
    }
}

/// Builds what the options do not give.
fn contents(args: &Args) -> Result<Contents> {
    let init = match &args.init {
        Some(file) => file.clone(),
        None => build::package("vm-init")?,
    };
    let mut programs = args.programs.clone();
    if !args.facts {
        let given = |name: &str| args.programs.iter().any(|(given, _)| given == name);
        if !given("oom-probe") || !given("hog") {
            let built = compile::build(&compile::Args::for_tests())?;
            for (name, file) in [("oom-probe", built.oom_probe), ("hog", built.hog)] {
                if !given(name) {
                    programs.push((name.to_owned(), file));
                }
            }
        }
        let test = match &args.test_bin {
            Some(file) => file.clone(),
            None => build::test("real_oom")?,
        };
        programs.push(("test".to_owned(), test));
    }
    Ok(Contents {
        init,
        programs,
        files: Vec::new(),
        arguments: args.of_test(),
    })
}

/// Starts the machines anew whose test has left something for that, each with what it left.
fn start_again(
    qemu: &Qemu,
    jobs: &[Job<'_>],
    ended: &[Result<Ended>],
    at_once: usize,
) -> Result<Vec<Option<Result<Ended>>>> {
    let mut again = Vec::new();
    for (index, (job, ended)) in jobs.iter().zip(ended).enumerate() {
        let Ok(ended) = ended else { continue };
        let left = fs::read(&ended.data).unwrap_or_default();
        if !left.is_empty() {
            let initrd = job.dir.join("initramfs.cpio");
            initramfs::extend(job.initrd, &facts::parse(&left)?, &initrd)?;
            again.push((index, job, initrd));
        }
    }
    let second: Vec<Job<'_>> = again
        .iter()
        .map(|(_, job, initrd)| Job {
            kernel: job.kernel,
            initrd,
            cmdline: job.cmdline.clone(),
            memory: job.memory,
            dir: beside(&job.dir),
            timeout: job.timeout,
            rank: job.rank,
        })
        .collect();
    let mut results: Vec<_> = jobs.iter().map(|_| None).collect();
    let ended = machine::run_all(qemu, &second, at_once);
    for ((index, ..), ended) in again.iter().zip(ended) {
        results[*index] = Some(ended);
    }
    Ok(results)
}

/// The directory for the logs of a machine's second start.
fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push("-again");
    name.into()
}

/// Reads what a machine said, and shows all of it if something is wrong.
fn column(planned: &Planned, ended: Result<Ended>, timeout: u64) -> Column {
    let machine = planned.name.clone();
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            let problems = vec![format!("{error:#}")];
            return Column {
                machine,
                said: serial::Said::default(),
                seconds: 0.0,
                problems,
            };
        }
    };
    let said = serial::parse(&ended.serial);
    let differences = planned.differences(&said.release, &said.facts);
    let problems = matrix::problems(&said, ended.timed_out.then_some(timeout), differences);
    let failed = |s: &serial::Scenario| matches!(s.verdict, Verdict::Failed(_));
    if !problems.is_empty() || said.scenarios.iter().any(failed) {
        show(&machine, &ended);
    }
    Column {
        machine,
        said,
        seconds: ended.elapsed.as_secs_f64(),
        problems,
    }
}

fn show(machine: &str, ended: &Ended) {
    let logs = [
        ("QEMU", &ended.qemu),
        ("kernel", &ended.console),
        ("test", &ended.serial),
    ];
    for (source, log) in logs.into_iter().filter(|(_, log)| !log.trim().is_empty()) {
        println!("--- {machine}: {source} ---\n{}", log.trim_end());
    }
}

/// Shows the matrix; fails if not all of it is right.
///
/// # Errors
/// What is not right, a line each.
pub(crate) fn conclude(matrix: &Matrix, report: Option<PathBuf>) -> Result<()> {
    println!("\n{}", report::terminal(matrix));
    let failures = matrix.failures();
    if !failures.is_empty() {
        bail!("the matrix is not all right:\n  {}", failures.join("\n  "));
    }
    if let Some(file) = report {
        report::write(&file, matrix)?;
        println!("wrote the matrix into {}", file.display());
    }
    Ok(())
}

/// Unpacks what the machines sent, a directory for each.
fn record(planned: &[Planned], ended: Vec<Result<Ended>>, root: &Path) -> Result<()> {
    for (planned, ended) in planned.iter().zip(ended) {
        let ended = ended?;
        if serial::parse(&ended.serial).exit != Some(0) {
            show(&planned.name, &ended);
            bail!(
                "{}: no end marker, so its facts may be cut off",
                planned.name
            );
        }
        let dir = root.join(&planned.name);
        for file in facts::unpack(&ended.data, &dir)? {
            println!("{}{file}", dir.display());
        }
    }
    Ok(())
}
