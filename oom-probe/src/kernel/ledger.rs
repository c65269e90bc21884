//! What the kernel programs count, read from memory shared with them: no bpf(2) after arming.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use oom_probe_common::ledger::Count;

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
        let len = Count::CAPACITY as usize * size_of::<u64>();
        Ok(Self(MmapOptions::new().len(len).map_raw_read_only(fd)?))
    }

    /// Reads every count.
    #[must_use]
    pub fn read(&self) -> Reading {
        let counts = self.0.as_ptr().cast::<u64>();
        Reading(Count::ALL.map(|count| {
            // SAFETY: the mapping is page-aligned and holds CAPACITY counts, more than any index;
            // the kernel changes them at any time, hence volatile.
            unsafe { counts.add(count as usize).read_volatile() }
        }))
    }
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
