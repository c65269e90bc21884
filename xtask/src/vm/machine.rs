//! Runs one machine to its end, or to its time limit.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::qemu::{Boot, Memory, Qemu};

const POLL: Duration = Duration::from_millis(50);

/// One machine to run; `dir` takes its logs and is emptied first.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initrd: &'a Path,
    pub(crate) cmdline: String,
    pub(crate) memory: Memory,
    pub(crate) dir: PathBuf,
    pub(crate) timeout: Duration,
    /// The lowest are started first.
    pub(crate) rank: usize,
}

/// How a machine ended. QEMU's exit status is left out: it says nothing about the guest.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Everything PID 1 and the test wrote, on the second serial port.
    pub(crate) serial: String,
    /// The kernel's messages, on the first.
    pub(crate) console: String,
    /// What was sent through the third, raw.
    pub(crate) data: PathBuf,
    /// What QEMU itself had to say.
    pub(crate) qemu: String,
    pub(crate) elapsed: Duration,
    pub(crate) timed_out: bool,
}

/// Runs every job, `at_once` at a time, and gives the results in the jobs' order.
pub(crate) fn run_all(qemu: &Qemu, jobs: &[Job<'_>], at_once: usize) -> Vec<Result<Ended>> {
    let mut order: Vec<(usize, &Job<'_>)> = jobs.iter().enumerate().collect();
    order.sort_by_key(|(_, job)| job.rank);
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let Some(&(index, job)) = order.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return done;
            };
            let ended = run(qemu, job);
            if let Ok(ended) = &ended {
                eprintln!(
                    "vm-test: {} {:.1} s",
                    job.dir.display(),
                    ended.elapsed.as_secs_f64()
                );
            }
            done.push((index, ended));
        }
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(worker)).collect();
        let ended = workers
            .into_iter()
            .map(|w| w.join().expect("a worker does not panic"));
        ended.flatten().collect::<Vec<_>>()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, ended)| ended).collect()
}

/// Boots the machine and waits for it. Fails if QEMU cannot be started or its logs not be written.
fn run(qemu: &Qemu, job: &Job<'_>) -> Result<Ended> {
    let dir = &job.dir;
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let serials = ["console.log", "serial.log", "data.bin"].map(|name| dir.join(name));
    let boot = Boot {
        kernel: job.kernel,
        initrd: job.initrd,
        cmdline: &job.cmdline,
        memory: job.memory,
        serials: &serials,
    };
    let log = dir.join("qemu.log");
    let mut command = qemu.command(&boot);
    command
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?);
    die_with_parent(&mut command);

    let started = Instant::now();
    let mut child = command.spawn().context("start QEMU")?;
    let timed_out = !ends_within(&mut child, job.timeout)?;
    let elapsed = started.elapsed();
    let [console, serial, data] = serials;
    Ok(Ended {
        serial: read(&serial),
        console: read(&console),
        data,
        qemu: read(&log),
        elapsed,
        timed_out,
    })
}

fn ends_within(child: &mut Child, limit: Duration) -> Result<bool> {
    let started = Instant::now();
    while started.elapsed() < limit {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}

/// An emulator must not outlive us, however we end: nobody else would stop a hung one.
fn die_with_parent(command: &mut Command) {
    let set = || {
        // SAFETY: prctl with these arguments touches no memory of the caller's and may be called
        // between fork and exec.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing. The signal is sent when the
    // calling thread ends, which waits for the child first.
    unsafe { command.pre_exec(set) };
}

fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
