//! Processes: forking, reaping, and what a process sets about itself.

use std::fmt;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::program;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Killed(i32),
}

impl End {
    fn from_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Killed(libc::WTERMSIG(status))
        } else {
            Self::Exited(libc::WEXITSTATUS(status))
        }
    }

    /// What a shell would report for it.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(code).unwrap_or(u8::MAX),
            Self::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Killed(libc::SIGKILL) => f.write_str("killed by SIGKILL"),
            Self::Killed(libc::SIGTERM) => f.write_str("killed by SIGTERM"),
            Self::Killed(libc::SIGBUS) => f.write_str("killed by SIGBUS"),
            Self::Killed(libc::SIGSEGV) => f.write_str("killed by SIGSEGV"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// How long to wait for memory that victims are about to give back.
const FOR_MEMORY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// Tries again while the kernel has no memory, which in a full cgroup is a matter of moments: a
/// process that the OOM killer may not take gets ENOMEM where others would be killed.
///
/// # Errors
/// Any other error at once, and ENOMEM after [`FOR_MEMORY`].
pub(crate) fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + FOR_MEMORY;
    loop {
        match attempt() {
            Err(error)
                if error.kind() == io::ErrorKind::OutOfMemory && Instant::now() < deadline =>
            {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// Forks; the child runs `body` and exits with the code it returns.
///
/// Only for processes with one thread: every mode forks before it starts any.
pub(crate) fn fork(body: impl FnOnce() -> u8) -> Result<i32> {
    let forked = patiently(|| {
        // SAFETY: this process has one thread (see above), so the child finds every lock free and
        // may run ordinary code.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            pid => Ok(pid),
        }
    });
    match forked.context("cannot fork")? {
        0 => {
            program::keep_in_memory();
            std::process::exit(body().into())
        }
        pid => Ok(pid),
    }
}

/// The next child that has ended, if one has. Includes orphans that PID 1 inherits.
pub(crate) fn reap() -> Option<(i32, End)> {
    wait_for(-1, libc::WNOHANG)
}

/// Waits until a traced child stops; the ptrace event that stopped it, `None` if it ended instead.
pub(crate) fn wait_for_stop(pid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let stopped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    // ptrace(2): the event is in the byte above the signal.
    (stopped == pid && libc::WIFSTOPPED(status)).then_some(status >> 16)
}

/// Waits for one child; `None` if it is no child of ours (any more).
pub(crate) fn wait(pid: i32) -> Option<End> {
    wait_for(pid, 0).map(|(_, end)| end)
}

fn wait_for(pid: i32, flags: i32) -> Option<(i32, End)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(pid, &raw mut status, flags) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            ended if ended > 0 => return Some((ended, End::from_status(status))),
            _ => return None,
        }
    }
}

pub(crate) fn own_pid() -> i32 {
    // SAFETY: getpid(2) takes no argument and always succeeds.
    unsafe { libc::getpid() }
}

pub(crate) fn parent() -> i32 {
    // SAFETY: getppid(2) takes no argument and always succeeds.
    unsafe { libc::getppid() }
}

/// A file of a process in /proc for whose inode there is no memory is told as one that does not
/// exist (fs/proc/base.c, `proc_pident_instantiate`).
fn no_memory_for_inode(error: io::Error) -> io::Error {
    let mounted = || fs::symlink_metadata("/proc/self").is_ok();
    if error.kind() == io::ErrorKind::NotFound && mounted() {
        io::ErrorKind::OutOfMemory.into()
    } else {
        error
    }
}

/// Sets how eagerly the OOM killer takes this process: -1000 (never) to 1000 (first).
pub(crate) fn set_oom_score_adj(value: i16) -> Result<()> {
    let value = value.to_string();
    let write = || fs::write("/proc/self/oom_score_adj", &value).map_err(no_memory_for_inode);
    patiently(write).with_context(|| {
        format!(
            "cannot set oom_score_adj to {value}; lowering it needs CAP_SYS_RESOURCE (root), and \
             /proc must be mounted"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_memory_is_waited_out() {
        let mut errors = [libc::ENOMEM, libc::ENOMEM, libc::EAGAIN].into_iter();
        let result = patiently(|| match errors.next() {
            Some(error) => Err::<(), _>(io::Error::from_raw_os_error(error)),
            None => Ok(()),
        });
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        assert_eq!(errors.next(), None);
    }

    #[test]
    fn a_file_of_a_process_that_seems_missing_is_a_lack_of_memory() {
        let told = |code| no_memory_for_inode(io::Error::from_raw_os_error(code)).kind();
        assert_eq!(told(libc::ENOENT), io::ErrorKind::OutOfMemory);
        assert_eq!(told(libc::EACCES), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn an_end_is_told_as_a_shell_does() {
        for (status, code, text) in [
            (0, 0, "ended with exit code 0"),
            (3 << 8, 3, "ended with exit code 3"),
            (libc::SIGKILL, 137, "killed by SIGKILL"),
            (libc::SIGTERM, 143, "killed by SIGTERM"),
            (libc::SIGUSR1, 138, "killed by signal 10"),
        ] {
            let end = End::from_status(status);
            assert_eq!((end.exit_code(), end.to_string().as_str()), (code, text));
        }
    }
}
