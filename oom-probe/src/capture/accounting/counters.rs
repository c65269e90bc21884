//! What the kernel programs count, and what one daemon leaves to the next, in memory shared with
//! them: no bpf(2) after arming.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use oom_probe_common::ledger::{CHECKPOINT_LEN, CHECKPOINTS, Count, ENTRIES, LAYOUT, Slot};

use super::checkpoint::Checkpoint;

/// No interval begins after it ends.
const NO_BASELINE: (u64, u64) = (1, 0);

/// The ledger map, mapped.
pub struct Ledger(MmapRaw);

/// One reading of all counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading([u64; Count::ALL.len()]);

impl Ledger {
    /// Maps the counts of an mmap-able array.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub fn map(array: &MapData) -> io::Result<Self> {
        let fd = array.fd().as_fd().as_raw_fd();
        let len = ENTRIES as usize * size_of::<u64>();
        Ok(Self(MmapOptions::new().len(len).map_raw(fd)?))
    }

    /// Whether a daemon has set it up that means the same by its entries.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.load(Slot::Layout as usize) == LAYOUT
    }

    /// Sets up a new one. No programs record until there is a generation.
    pub fn set_up(&self) {
        self.store(Slot::Layout as usize, LAYOUT);
    }

    /// The generation of the programs that record.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.load(Slot::Generation as usize)
    }

    /// From now on the programs of that generation record, and no others.
    pub fn set_generation(&self, generation: u64) {
        self.store(Slot::Generation as usize, generation);
    }

    /// What vmstat said when the counts began; `None` where that could not be read.
    #[must_use]
    pub fn baseline(&self) -> Option<Baseline> {
        let [from, to] =
            [Slot::BaselineFrom, Slot::BaselineTo].map(|slot| self.load(slot as usize));
        (from <= to).then(|| Baseline::between(from, to))
    }

    /// Keeps what vmstat said when the counts began.
    pub fn set_baseline(&self, baseline: Option<&Baseline>) {
        let (from, to) = baseline.map_or(NO_BASELINE, |baseline| {
            (*baseline.range().start(), *baseline.range().end())
        });
        self.store(Slot::BaselineFrom as usize, from);
        self.store(Slot::BaselineTo as usize, to);
    }

    /// What had been made of the records when the ring was released up to `position`, as far as a
    /// daemon has left word of it.
    #[must_use]
    pub fn checkpoint(&self, position: u64) -> Option<Checkpoint> {
        let all = (0..CHECKPOINTS).map(|at| {
            let first = checkpoint_index(at);
            Checkpoint::from_numbers(std::array::from_fn(|n| self.load(first + n)))
        });
        Checkpoint::newest(all.flatten(), position)
    }

    /// Keeps what has been made of the records, before the ring is released up to its position.
    pub fn set_checkpoint(&self, checkpoint: &Checkpoint) {
        let first = checkpoint_index(checkpoint.number as usize % CHECKPOINTS);
        let numbers = checkpoint.numbers();
        // The number goes first and comes last: what a dying daemon leaves half written has none.
        self.store(first, 0);
        for n in (0..CHECKPOINT_LEN).rev() {
            self.store(first + n, numbers[n]);
        }
    }

    fn load(&self, index: usize) -> u64 {
        self.entry(index).load(Ordering::Acquire)
    }

    fn store(&self, index: usize, value: u64) {
        self.entry(index).store(value, Ordering::Release);
    }

    fn entry(&self, index: usize) -> &AtomicU64 {
        assert!(index < ENTRIES as usize, "the ledger has no entry {index}");
        // SAFETY: the mapping is writable, page-aligned and holds ENTRIES numbers as long as
        // `self` lives; the kernel side reads and writes whole aligned ones too.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().cast::<u64>().add(index)) }
    }

    /// Reads every count.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading(Count::ALL.map(|count| self.load(count as usize)))
    }
}

const fn checkpoint_index(at: usize) -> usize {
    Slot::Checkpoints as usize + at * CHECKPOINT_LEN
}

impl Reading {
    /// With counts made up for a test.
    #[cfg(test)]
    pub(crate) fn of(count: impl FnMut(Count) -> u64) -> Self {
        Self(Count::ALL.map(count))
    }

    /// One of the counts.
    #[must_use]
    pub const fn get(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// Marks of which the ring took a record.
    #[must_use]
    pub const fn marks_submitted(&self) -> u64 {
        // A mark is counted before its record is dropped, so that this is never below zero for
        // long; but the two are not read at once.
        self.get(Count::Marks)
            .saturating_sub(self.get(Count::DroppedMarks))
    }

    /// Records of any kind that the ring had no room for.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.get(Count::DroppedMarks)
            + self.get(Count::DroppedSignals)
            + self.get(Count::DroppedContext)
    }
}

/// What vmstat said when the hooks were armed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline(RangeInclusive<u64>);

impl Baseline {
    /// From vmstat's count before the first hook was attached, and together with the ledger after
    /// the last. Kills in between may or may not have been marked.
    #[must_use]
    pub fn new(before: u64, after: u64, ledger: &Reading) -> Self {
        let uncertain = match ledger.get(Count::Marks) + ledger.get(Count::Signals) {
            0 => 0,
            _ => after.saturating_sub(before),
        };
        Self(after.saturating_sub(uncertain)..=after)
    }

    /// As an earlier daemon kept it.
    #[must_use]
    pub const fn between(from: u64, to: u64) -> Self {
        Self(from..=to)
    }

    /// From what to what.
    #[must_use]
    pub const fn range(&self) -> &RangeInclusive<u64> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In memory of the test's own.
    fn made() -> Ledger {
        let len = ENTRIES as usize * size_of::<u64>();
        Ledger(MmapOptions::new().len(len).map_anon().unwrap().into())
    }

    #[test]
    fn what_one_daemon_leaves_the_next_one_finds() {
        let ledger = made();
        assert!(!ledger.is_set_up());
        ledger.set_up();
        assert!(ledger.is_set_up());
        assert_eq!(ledger.read().get(Count::Marks), 0);

        ledger.set_generation(7);
        assert_eq!(ledger.generation(), 7);
        for baseline in [None, Some(Baseline::between(3, 5))] {
            ledger.set_baseline(baseline.as_ref());
            assert_eq!(ledger.baseline(), baseline);
        }
        assert_eq!(ledger.checkpoint(64), None);
        for number in 1..=3 {
            let checkpoint = Checkpoint {
                number,
                position: 64 * number,
                ..Checkpoint::default()
            };
            ledger.set_checkpoint(&checkpoint);
            assert_eq!(ledger.checkpoint(64 * number), Some(checkpoint));
        }
    }
}
