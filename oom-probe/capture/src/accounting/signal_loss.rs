//! Whether the hook on signals has seen every signal: only then does a mark without one say that
//! its task was dying anyway.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use oom_probe_common::ledger::Count;

use super::checkpoint::Checkpoint;
use crate::{accounting::counters::Reading, assemble::Witness};

/// How long a lapse casts doubt on what follows, in kernel time: the mark comes microseconds after
/// the signal that was lost, unless the kernel runs something else on that CPU first.
const DOUBT_NS: u64 = 1_000_000_000;

/// Watches over the hook on signals.
pub struct SignalWitness {
    /// Its program; none where the hook is not attached.
    program: Option<Program>,
    lapses: Lapses,
}

struct Program {
    _fd: OwnedFd,
    /// What the kernel says of it, kept open: it is asked before each kill is told.
    info: io::Result<File>,
}

/// What the hook has lost, and until when that matters.
#[derive(Debug, Default)]
struct Lapses {
    dropped: u64,
    misses: u64,
    doubtful_until_ns: u64,
}

impl SignalWitness {
    /// Watches over that program. What it had lost before `earlier` was written has cast its doubt.
    #[must_use]
    pub fn new(program: Option<OwnedFd>, earlier: &Checkpoint) -> Self {
        Self {
            program: program.map(|fd| Program {
                info: File::open(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())),
                _fd: fd,
            }),
            lapses: Lapses {
                dropped: earlier.dropped_signals,
                misses: earlier.misses,
                doubtful_until_ns: 0,
            },
        }
    }

    /// How often the hook was not run, and how many of its records the ring had no room for, as far
    /// as that has cast its doubt.
    #[must_use]
    pub fn lapses(&self) -> (u64, u64) {
        (self.lapses.misses, self.lapses.dropped)
    }

    /// Asks the kernel how often it did not run the hook. `now_ns` is boot time.
    pub fn look(&mut self, now_ns: u64) {
        // Kernels before 5.12 do not count them, and have no other way to miss.
        if let Some(misses) = self.program.as_ref().and_then(Program::misses) {
            self.lapses.missed(misses, now_ns);
        }
    }

    /// How far the hook is to be trusted for a record of that time. The ledger is to be read after
    /// the record: a signal comes before its mark, and so does the count of a dropped one.
    pub fn judge(&mut self, time_ns: u64, ledger: &Reading, now_ns: u64) -> Witness {
        let dropped = ledger.get(Count::DroppedSignals);
        self.lapses.dropped(dropped, now_ns);
        if self.program.is_some() && time_ns > self.lapses.doubtful_until_ns {
            Witness::Reliable
        } else {
            Witness::Doubtful
        }
    }
}

impl Lapses {
    fn missed(&mut self, misses: u64, now_ns: u64) {
        if misses != self.misses {
            self.misses = misses;
            self.doubt(now_ns);
        }
    }

    fn dropped(&mut self, dropped: u64, now_ns: u64) {
        if dropped != self.dropped {
            self.dropped = dropped;
            self.doubt(now_ns);
        }
    }

    fn doubt(&mut self, now_ns: u64) {
        self.doubtful_until_ns = now_ns.saturating_add(DOUBT_NS);
    }
}

impl Program {
    /// How often the kernel did not run it since it was running already on that CPU
    /// (kernel/trace/bpf_trace.c `__bpf_trace_run`): on real-time kernels a program can be preempted
    /// by a task that sends a signal itself.
    fn misses(&self) -> Option<u64> {
        // Twice what there is, and from the beginning each time: the kernel writes it anew.
        let mut info = [0; 1024];
        let len = self.info.as_ref().ok()?.read_at(&mut info, 0).ok()?;
        parse_misses(std::str::from_utf8(&info[..len]).ok()?)
    }
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

    fn reading(dropped: u64) -> Reading {
        Reading::of(|count| {
            if count == Count::DroppedSignals {
                dropped
            } else {
                7
            }
        })
    }

    #[test]
    fn a_dropped_signal_casts_doubt_on_marks_around_it() {
        let file = File::open("/proc/self/status").unwrap();
        let mut witness = SignalWitness::new(Some(file.into()), &Checkpoint::default());
        let second = 1_000_000_000;
        for (time, dropped, now, expected) in [
            (1, 0, 2, Witness::Reliable),
            // Three were dropped at some time before 10 s.
            (8 * second, 3, 10 * second, Witness::Doubtful),
            (2 * second, 3, 10 * second, Witness::Doubtful),
            (11 * second, 3, 20 * second, Witness::Doubtful),
            (11 * second + 1, 3, 20 * second, Witness::Reliable),
            (11 * second + 1, 4, 20 * second, Witness::Doubtful),
        ] {
            let found = witness.judge(time, &reading(dropped), now);
            assert_eq!(found, expected, "{time} {dropped} {now}");
        }
    }

    #[test]
    fn without_the_hook_everything_is_in_doubt() {
        let found = SignalWitness::new(None, &Checkpoint::default()).judge(5, &reading(0), 9);
        assert_eq!(found, Witness::Doubtful);
    }

    #[test]
    fn misses_are_read_from_what_the_kernel_shows_of_a_program() {
        let fdinfo = "pos:\t0\nprog_type:\t17\nrun_time_ns:\t0\nrecursion_misses:\t3\n";
        assert_eq!(parse_misses(fdinfo), Some(3));
        assert_eq!(parse_misses("pos:\t0\nprog_type:\t17\n"), None);
    }
}
