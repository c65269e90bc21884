//! Whether the hook on signals has seen every signal: only then does a mark without one say that
//! its task was dying anyway.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use oom_probe_common::ledger::Count;

use super::ledger::Ledger;
use crate::event::Witness;

/// Watches over the hook on signals.
pub struct SignalWitness {
    /// Its program; none where the hook is not attached.
    program: Option<OwnedFd>,
    dropped: u64,
    misses: u64,
}

impl SignalWitness {
    /// Watches over that program.
    #[must_use]
    pub fn new(program: Option<OwnedFd>) -> Self {
        let misses = program.as_ref().and_then(|fd| misses(fd).ok()).unwrap_or(0);
        Self {
            program,
            dropped: 0,
            misses,
        }
    }

    /// Says how far the hook is to be trusted for what has come since the last call.
    pub fn judge(&mut self, ledger: &Ledger) -> Witness {
        let Some(program) = &self.program else {
            return Witness::Doubtful;
        };
        let dropped = ledger.read().get(Count::DroppedSignals);
        // Kernels before 5.12 do not count them, and have no other way to miss.
        let misses = misses(program).unwrap_or(0);
        let reliable = (dropped, misses) == (self.dropped, self.misses);
        (self.dropped, self.misses) = (dropped, misses);
        if reliable {
            Witness::Reliable
        } else {
            Witness::Doubtful
        }
    }
}

/// How often the kernel did not run a program since it was running already on that CPU
/// (kernel/trace/bpf_trace.c `__bpf_trace_run`): on real-time kernels a program can be preempted
/// by a task that sends a signal itself.
fn misses(program: &OwnedFd) -> io::Result<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
    parse_misses(&info).ok_or_else(|| io::Error::other("no recursion_misses"))
}

fn parse_misses(fdinfo: &str) -> Option<u64> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_read_from_what_the_kernel_shows_of_a_program() {
        let fdinfo = "pos:\t0\nprog_type:\t17\nrun_time_ns:\t0\nrecursion_misses:\t3\n";
        assert_eq!(parse_misses(fdinfo), Some(3));
        assert_eq!(parse_misses("pos:\t0\nprog_type:\t17\n"), None);
    }
}
