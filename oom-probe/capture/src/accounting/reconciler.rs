//! Holds what is known of kills against the kernel's own count, `oom_kill` in `/proc/vmstat`.
//!
//! mm/oom_kill.c `__oom_kill_process` counts each victim once, but a pass over a group may count a
//! victim again that is dead already. So the growth since arming is an interval's matter: at least
//! the marked kills, at most those and the repeated ones.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oom_probe_common::ledger::Count;

use crate::{
    accounting::counters::{Baseline, Ledger, Reading},
    assemble::Counts,
    sys::procfs,
};

/// The kernel counts a victim a moment before it marks it: a distance counts only when it is still
/// there this much later.
const SETTLE: Duration = Duration::from_millis(10);
/// Readings of ledger and vmstat together, until one is not disturbed by a kill in between.
const ATTEMPTS: usize = 5;

/// The kernel's own count of OOM kills since boot.
///
/// # Errors
/// When the file cannot be read or has no `oom_kill` (before 4.13).
pub fn vmstat_oom_kills(proc_root: &Path) -> io::Result<u64> {
    let text = procfs::read_to_string(&proc_root.join("vmstat"))?;
    parse_vmstat(&text).ok_or_else(|| io::Error::other("vmstat has no oom_kill"))
}

fn parse_vmstat(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?
        .trim()
        .parse()
        .ok()
}

/// A reading of the ledger, and vmstat's count at that moment where it can be read.
pub fn read_together(
    ledger: &Ledger,
    vmstat: impl Fn() -> io::Result<u64>,
) -> (Reading, Option<u64>) {
    let mut before = ledger.read();
    let mut kills = vmstat().ok();
    for _ in 1..ATTEMPTS {
        let after = ledger.read();
        if after == before {
            break;
        }
        before = after;
        kills = vmstat().ok();
    }
    (before, kills)
}

/// What the kernel has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelCounts {
    /// Marks.
    pub marks: u64,
    /// Records for which the ring had no room.
    pub dropped: u64,
    /// `oom_kill` of `/proc/vmstat`.
    pub vmstat: Option<u64>,
    /// How far the kills known are from what the kernel's count allows; absent where it cannot be
    /// told.
    pub unaccounted: Option<u64>,
}

/// The kernel's own count of kills, which the known ones are held against.
pub struct Vmstat {
    proc_root: PathBuf,
    baseline: Option<Baseline>,
    referee: Referee,
}

impl Vmstat {
    /// What that procfs says, against what it said when the hooks were armed; `None` where it could
    /// not be read then.
    #[must_use]
    pub fn new(proc_root: PathBuf, baseline: Option<Baseline>) -> Self {
        Self {
            proc_root,
            baseline,
            referee: Referee::default(),
        }
    }

    /// Holds the kills of those `counts` against it. `has_read_all` says that none waits in the
    /// rings.
    pub fn reconcile(
        &mut self,
        ledger: &Ledger,
        counts: &Counts,
        has_read_all: bool,
        now: Instant,
    ) -> KernelCounts {
        let Self {
            proc_root,
            baseline,
            referee,
        } = self;
        let (reading, vmstat) = read_together(ledger, || vmstat_oom_kills(proc_root));
        let unaccounted = match (baseline, vmstat) {
            // While kills wait in the ring it says nothing.
            (Some(_), Some(_)) if !has_read_all => Some(referee.last()),
            (Some(baseline), Some(vmstat)) => {
                let distance = distance(baseline, vmstat, counts, &reading);
                Some(referee.judge(distance, now))
            }
            _ => None,
        };
        KernelCounts {
            marks: reading.get(Count::Marks),
            dropped: reading.dropped(),
            vmstat,
            unaccounted,
        }
    }
}

/// How far the kills known are from what the kernel's count allows; 0 is right.
#[must_use]
pub(crate) fn distance(baseline: &Baseline, vmstat: u64, counts: &Counts, ledger: &Reading) -> u64 {
    let dropped_marks = ledger.get(Count::DroppedMarks);
    let dropped_signals = ledger.get(Count::DroppedSignals);
    // A kill without a signal may have been no kill, or the first of a group, counted twice.
    let least = counts.marked_kills.saturating_sub(counts.doubtful);
    let most =
        counts.marked_kills + counts.doubtful + counts.repeats + dropped_marks + dropped_signals;
    let (from, to) = (baseline.range().start(), baseline.range().end());
    let growth = vmstat.saturating_sub(*to)..=vmstat.saturating_sub(*from);
    if growth.end() < &least {
        least - growth.end()
    } else {
        growth.start().saturating_sub(most)
    }
}

/// Keeps a passing distance from being told.
#[derive(Debug, Default)]
struct Referee {
    suspect: Option<Instant>,
    told: u64,
}

impl Referee {
    /// The distance told last.
    const fn last(&self) -> u64 {
        self.told
    }

    /// The distance to tell, given the one just computed.
    fn judge(&mut self, distance: u64, now: Instant) -> u64 {
        if distance == self.told {
            self.suspect = None;
            return self.told;
        }
        let since = *self.suspect.get_or_insert(now);
        if distance == 0 || now.duration_since(since) >= SETTLE {
            self.suspect = None;
            self.told = distance;
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(marked_kills: u64, repeats: u64) -> Counts {
        Counts {
            marked_kills,
            repeats,
            ..Counts::default()
        }
    }

    #[test]
    fn the_growth_may_be_anything_from_the_kills_to_the_kills_and_repeats() {
        let baseline = Baseline::between(100, 100);
        for (vmstat, kills, repeats, want) in [
            (100, 0, 0, 0),
            (103, 3, 0, 0),
            (104, 3, 1, 0),
            (103, 3, 1, 0),
            (105, 3, 1, 1),
            (102, 3, 1, 1),
            (110, 0, 0, 10),
        ] {
            let got = distance(
                &baseline,
                vmstat,
                &counts(kills, repeats),
                &Reading::default(),
            );
            assert_eq!(
                got, want,
                "vmstat {vmstat}, {kills} kills, {repeats} repeats"
            );
        }
    }

    #[test]
    fn what_no_signal_proves_widens_the_interval() {
        let counts = Counts {
            doubtful: 1,
            ..counts(3, 0)
        };
        for (growth, want) in [(1, 1), (2, 0), (3, 0), (4, 0), (5, 1)] {
            let got = distance(
                &Baseline::between(0, 0),
                growth,
                &counts,
                &Reading::default(),
            );
            assert_eq!(got, want, "growth {growth}");
        }
    }

    #[test]
    fn kills_while_arming_make_the_baseline_uncertain() {
        let baseline = Baseline::between(100, 102);
        for (vmstat, kills, want) in [(102, 0, 0), (102, 2, 0), (102, 3, 1), (105, 2, 1)] {
            let got = distance(&baseline, vmstat, &counts(kills, 0), &Reading::default());
            assert_eq!(got, want, "vmstat {vmstat}, {kills} kills");
        }
    }

    #[test]
    fn a_distance_is_told_once_it_stays() {
        let start = Instant::now();
        let mut referee = Referee::default();
        assert_eq!(referee.judge(1, start), 0, "the mark may be on its way");
        assert_eq!(referee.judge(0, start), 0);
        assert_eq!(referee.judge(1, start), 0);
        assert_eq!(referee.judge(1, start + SETTLE), 1);
        assert_eq!(referee.judge(0, start + SETTLE), 0);
    }

    #[test]
    fn vmstat_is_read_by_name() {
        assert_eq!(
            parse_vmstat("nr_free_pages 1\noom_kill 42\nother 7\n"),
            Some(42)
        );
        assert_eq!(parse_vmstat("oom_kill_extra 42\n"), None);
    }
}
