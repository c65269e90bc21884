//! The clocks, read together once for each time that the daemon wakes up.

use std::time::Instant;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Two readings less than this apart are of the same moment.
const TOGETHER_NS: u64 = 50_000;
const ATTEMPTS: usize = 10;

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
    /// Reads the clocks: the times of kills depend on the two of them being read together, which the
    /// scheduler may prevent once or twice.
    #[must_use]
    pub fn read() -> Self {
        let (mut boottime, mut realtime) = (boottime_ns(), Timestamp::now());
        for _ in 0..ATTEMPTS {
            if boottime_ns() - boottime < TOGETHER_NS {
                break;
            }
            (boottime, realtime) = (boottime_ns(), Timestamp::now());
        }
        Self {
            instant: Instant::now(),
            boottime_ns: boottime,
            realtime,
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
