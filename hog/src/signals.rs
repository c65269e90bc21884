//! Signals that are waited for instead of handled.
//!
//! They stay blocked and are taken by sigtimedwait(2). So nothing runs in a handler, no wake-up is
//! lost between a check and a sleep, and it works as PID 1, where the kernel drops signals without
//! a handler unless they are blocked (kernel/signal.c, `sig_ignored`).

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

/// Proof that the signals are blocked in this process; forked children inherit that.
#[derive(Clone, Copy)]
pub(crate) struct Signals(libc::sigset_t);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// SIGTERM or SIGINT: end in good order.
    Stop,
    /// A child ended.
    Child,
    /// A child said that it is ready.
    Ready,
    /// The time is over.
    Timeout,
}

/// What a child sends when it is ready: a real-time signal, which queues instead of merging.
pub(crate) fn ready() -> i32 {
    libc::SIGRTMIN()
}

impl Signals {
    /// Blocks SIGTERM, SIGINT, SIGCHLD and [`ready`]. Call it before any thread or child exists.
    pub(crate) fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set before anything reads it, the signal numbers are
        // valid, and SIG_DFL is a valid disposition. An inherited SIG_IGN for SIGCHLD would make
        // children vanish unreaped.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let mut set = set.assume_init();
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, ready()] {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            set
        };
        // SAFETY: the set is initialised; the old mask is not asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) } {
            0 => Ok(Self(set)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Waits for a signal, for at most `timeout`; forever without one.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Wake {
        let timeout = timeout.map(|duration| libc::timespec {
            tv_sec: duration.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: duration.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        loop {
            // SAFETY: set and timeout outlive the call; siginfo is not asked for.
            match unsafe { libc::sigtimedwait(self.as_set(), ptr::null_mut(), timeout) } {
                libc::SIGCHLD => return Wake::Child,
                signal if signal == ready() => return Wake::Ready,
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                -1 => return Wake::Timeout,
                _ => return Wake::Stop,
            }
        }
    }

    /// The set as the kernel wants it.
    pub(crate) fn as_set(&self) -> *const libc::sigset_t {
        &raw const self.0
    }

    /// Sleeps for `duration`; true if it was told to stop before that was over.
    pub(crate) fn stopped_within(&self, duration: Option<Duration>) -> bool {
        loop {
            match self.wait(duration) {
                Wake::Stop => return true,
                Wake::Timeout => return false,
                // Children are the business of those who wait for them; a sleeper sleeps on.
                Wake::Child | Wake::Ready => {}
            }
        }
    }
}
