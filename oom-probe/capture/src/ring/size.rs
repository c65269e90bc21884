//! How large the ring is.

use std::fmt;
use std::str::FromStr;

/// Bytes of the ring. The daemon maps it, so it counts in its resident memory too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize(u32);

/// Room for the largest record, which has more than 4 KiB.
const SMALLEST: u32 = 8 << 10;
const LARGEST: u32 = 64 << 20;

impl RingSize {
    /// How many bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

impl Default for RingSize {
    /// Some 1,200 kills of a typical depth fit before the reader has to have read one.
    fn default() -> Self {
        Self(1 << 20)
    }
}

impl FromStr for RingSize {
    type Err = String;

    /// `512K`, `512KiB`, `1M`; without a unit it is bytes.
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = parse_size::Config::new()
            .with_binary()
            .parse_size(text)
            .map_err(|error| format!("{error}; try 512K or 1M"))?;
        // The kernel takes nothing else (kernel/bpf/ringbuf.c `ringbuf_map_alloc`).
        let page = rustix::param::page_size() as u64;
        let smallest = u64::from(SMALLEST).max(page);
        let range = smallest..=u64::from(LARGEST);
        match u32::try_from(bytes) {
            Ok(size) if size.is_power_of_two() && range.contains(&bytes) => Ok(Self(size)),
            _ => Err(format!(
                "it must be a power of two from {}K to {}M",
                smallest >> 10,
                LARGEST >> 20
            )),
        }
    }
}

impl fmt::Display for RingSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}K", self.0 >> 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_power_of_two_that_the_kernel_takes() {
        for (text, bytes) in [
            ("64K", 64 << 10),
            ("64KiB", 64 << 10),
            ("1M", 1 << 20),
            ("1Mi", 1 << 20),
            ("524288", 512 << 10),
            ("64M", 64 << 20),
        ] {
            assert_eq!(text.parse(), Ok(RingSize(bytes)), "{text}");
        }
        for text in [
            "", "0", "4095", "500K", "3M", "128M", "4G", "16E", "-1", "many",
        ] {
            let refused = text.parse::<RingSize>().unwrap_err();
            assert!(!refused.contains('\n'), "{text}: {refused}");
        }
    }

    #[test]
    fn the_default_is_shown_as_it_is_given() {
        let default = RingSize::default();
        assert_eq!(default.to_string().parse(), Ok(default));
    }

    #[test]
    fn the_largest_record_fits_into_the_smallest_ring() {
        // A record has a header of 8 bytes in the ring.
        assert!(oom_probe_common::record::MAX_LEN + 8 <= SMALLEST as usize);
    }
}
