//! Whoever tests leaves nothing behind, however it ends: Ctrl-C, a signal, a scenario that hangs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::mem;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where temporary files go (environ(7)). It is a directory of the guarded process' own, so whoever has
/// it in its environment was started there, or by one that was.
const MARK: &str = "TMPDIR";

/// What has to die by SIGKILL is gone by then.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// Starts a process that waits for the end of this one. It then kills what this one has started, and
/// what that has started, calls `clear` for the rest, and removes the directory for temporary files
/// that this process has from now on, whose name begins with `name`.
///
/// # Errors
/// The kernel lends no pipe, no process, or no directory.
///
/// # Safety
/// There is no other thread yet.
pub unsafe fn stand(name: &str, clear: impl FnOnce()) -> io::Result<()> {
    let scratch = tempfile::Builder::new().prefix(name).tempdir()?;
    let (mut end, open) = io::pipe()?;
    // SAFETY: no other thread can hold a lock that the new process would wait for.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            drop(open);
            ignore_signals();
            // Nothing is ever written: this returns when the kernel closes the other end.
            let _ = end.read(&mut [0]);
            // What follows in the guarded process is not for this one, not even after a panic.
            let _ = catch_unwind(AssertUnwindSafe(|| clear_up(scratch, clear)));
            // SAFETY: _exit(2) takes a number. What this process has inherited is its parent's to end.
            unsafe { libc::_exit(0) };
        }
        _ => {
            mem::forget(open);
            // SAFETY: no other thread reads the environment.
            unsafe { std::env::set_var(MARK, scratch.keep()) };
        }
    }
    Ok(())
}

fn clear_up(scratch: TempDir, clear: impl FnOnce()) {
    kill_all(scratch.path());
    clear();
    if let Err(error) = scratch.close() {
        tell(&error.to_string());
    }
}

/// Says what is left, if there is still somebody to hear it.
pub fn tell(left: &str) {
    let _ = writeln!(io::stderr(), "left behind: {left}");
}

/// A terminal sends them to whoever runs there.
fn ignore_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: the numbers are valid, and to ignore takes no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Again and again: who is killed may just have started another.
fn kill_all(scratch: &Path) {
    let mut mark = OsString::from(MARK);
    mark.push("=");
    mark.push(scratch);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pids = marked(&mark);
        if pids.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            return tell(&format!("processes {pids:?}"));
        }
        for pid in pids {
            // SAFETY: kill(2) takes no pointer. It was one of ours a moment ago, so it is positive;
            // that it is gone by now is no failure.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        thread::sleep(PAUSE);
    }
}

/// Those that are dead already have no environment.
fn marked(mark: &OsStr) -> Vec<i32> {
    let pid = |name: &OsStr| name.to_str()?.parse().ok();
    let has_it = |directory: &Path| {
        let environment = fs::read(directory.join("environ")).unwrap_or_default();
        let mut variables = environment.split(|&byte| byte == 0);
        variables.any(|variable| variable == mark.as_bytes())
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((pid(&entry.file_name())?, entry.path())))
        .filter(|(_, directory)| has_it(directory))
        .map(|(pid, _)| pid)
        .collect()
}
