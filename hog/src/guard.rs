//! Whoever tests leaves nothing behind, however it ends: Ctrl-C, a signal, a scenario that hangs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{FromRawFd as _, IntoRawFd as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Every process that was started has it in its environment, with the name of who stands guard.
const MARK: &str = "OOM_PROBE_STARTED_BY";

/// What has to die by SIGKILL is gone by then.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// Starts a process that waits for the end of this one. It then kills what this one has started, and
/// what that has started, calls `clear` for the rest, and removes the directory for temporary files
/// that this process has from now on.
///
/// `name` is this process' own: nothing else on this machine may have it.
///
/// # Errors
/// The kernel lends no pipe, no process, or no directory.
///
/// # Safety
/// There is no other thread yet.
pub unsafe fn stand(name: &str, clear: impl FnOnce()) -> io::Result<()> {
    let scratch = std::env::temp_dir().join(name);
    fs::create_dir(&scratch)?;
    let (mut ends, open) = pipe()?;
    // SAFETY: no other thread can hold a lock that the new process would wait for.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            drop(open);
            ignore_signals();
            // The other end is closed by the kernel, by nobody else.
            let _ = ends.read(&mut [0]);
            kill_all(name);
            clear();
            if let Err(error) = fs::remove_dir_all(&scratch) {
                tell(&format!("{}: {error}", scratch.display()));
            }
            // SAFETY: _exit(2) takes a number. What this process has inherited is its parent's to end.
            unsafe { libc::_exit(0) };
        }
        _ => {
            let _until_the_end = open.into_raw_fd();
            // SAFETY: no other thread reads the environment.
            unsafe {
                std::env::set_var(MARK, name);
                std::env::set_var("TMPDIR", &scratch);
            }
        }
    }
    Ok(())
}

/// Says what is left, if there is still somebody to hear it.
pub fn tell(left: &str) {
    let _ = writeln!(io::stderr(), "left behind: {left}");
}

/// Both ends are closed in programs that are started.
fn pipe() -> io::Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: pipe2(2) writes two descriptors there.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made them for us.
    Ok(ends.map(|end| unsafe { File::from_raw_fd(end) }).into())
}

/// A terminal sends them to whoever runs there.
fn ignore_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: both numbers are valid.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Again and again: who is killed may just have started another.
fn kill_all(name: &str) {
    let mark = format!("{MARK}={name}");
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
fn marked(mark: &str) -> Vec<i32> {
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
