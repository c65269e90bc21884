//! How to capture.

use oom_probe_common::ABI_VERSION;

use crate::capture::ring::RingSize;

/// How to capture.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Room for records.
    pub ring: RingSize,
    /// The version that the programs write into each record. Another than this build's own is for
    /// playing another release.
    pub record_version: u16,
    /// Names of this process's threads that never open a file.
    pub open_nothing: &'static [&'static str],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring: RingSize::default(),
            record_version: ABI_VERSION,
            open_nothing: &[],
        }
    }
}
