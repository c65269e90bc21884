//! Threads that measure run ahead of everything that is measured: a storm takes all CPUs, and what
//! such a thread waits for one would be shown as the daemon's delay.

use std::io;
use std::thread::{self, JoinHandle};

/// Starts a thread that measures, at real-time priority where this process may.
pub(super) fn measuring<T: Send + 'static>(
    measure: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(|| {
        // Where that is refused, `told` says so.
        let _ = raise();
        measure()
    })
}

/// One sentence: whether the threads that measure run ahead.
pub(super) fn told() -> String {
    refused().unwrap_or_else(|| RAISED.to_owned())
}

/// One sentence where they do not.
pub(super) fn refused() -> Option<String> {
    let raised = thread::spawn(raise).join();
    let raised = raised.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
    raised.err().map(|error| refusal(&error))
}

const RAISED: &str = "The bench's own threads that read the log, `/metrics` and the API run at \
                      real-time priority, so that what they wait for a CPU is not taken for the \
                      daemon's delay; daemon, hogs and alternatives run as they are shipped.";

fn refusal(error: &io::Error) -> String {
    format!(
        "The bench's own threads that read the log, `/metrics` and the API could not be given \
         real-time priority ({error}): what they wait for a CPU is in the delays."
    )
}

/// One above what the bench itself runs at, since `chrt` raises what it starts too.
fn raise() -> io::Result<()> {
    let mut parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread, and the kernel fills one sched_param of ours.
    if unsafe { libc::sched_getparam(0, &raw mut parameters) } != 0 {
        return Err(io::Error::last_os_error());
    }
    parameters.sched_priority += 1;
    // SAFETY: 0 is the calling thread, and the kernel reads one sched_param of ours.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why() {
        let text = refusal(&io::Error::from_raw_os_error(libc::EPERM));
        assert!(
            text.contains("could not be given real-time priority (Operation not permitted"),
            "{text}"
        );
    }
}
