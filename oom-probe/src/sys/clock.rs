//! The clocks, read together once for each time that the daemon wakes up.

use std::time::Instant;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// One moment by three clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// By the clock that waiting goes by.
    pub instant: Instant,
    /// By the kernel's records: `CLOCK_BOOTTIME`, ns.
    pub boottime_ns: u64,
    /// By the clock that goes on over a restart.
    pub realtime: Timestamp,
}

impl Now {
    /// Reads the clocks.
    #[must_use]
    pub fn read() -> Self {
        Self {
            instant: Instant::now(),
            boottime_ns: boottime_ns(),
            realtime: Timestamp::now(),
        }
    }

    /// What to add to a boot time to get the time of day, ns.
    #[must_use]
    pub fn realtime_minus_boottime_ns(&self) -> i128 {
        self.realtime.as_nanosecond() - i128::from(self.boottime_ns)
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[must_use]
pub fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    // It begins at 0 and 64 bits last for centuries.
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
