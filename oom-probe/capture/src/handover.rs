//! Since when kills are captured, and since when by this daemon.

pub mod resumed;

/// The moment at which a daemon takes capture over, and what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// `CLOCK_BOOTTIME`, ns: kills before it happened while no daemon read the ring.
    pub at_ns: u64,
    /// Whether kills before that are known.
    pub capture: Capture,
}

/// Whether kills before the takeover are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// No: capture began with this daemon, or had stopped at a time not known.
    Began,
    /// Yes: an earlier daemon's programs went on, and what they recorded waits in the ring.
    Continued,
}

impl Takeover {
    /// Whether a kill of that boot time happened before the kernel's own count is looked at.
    #[must_use]
    pub fn is_unaccounted(self, kill_ns: u64) -> bool {
        self.capture == Capture::Began && kill_ns < self.at_ns
    }

    /// Whether a kill of that boot time happened while no daemon ran.
    #[must_use]
    pub fn is_drained(self, kill_ns: u64) -> bool {
        kill_ns < self.at_ns
    }
}
