//! Many measurements of one thing.

use std::fmt;
use std::time::Duration;

/// Median, what one in a hundred exceeds, and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
    pub(super) count: usize,
}

impl Spread {
    /// None of nothing.
    pub(super) fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        let at = |share: f64| times[(last as f64 * share).ceil() as usize];
        Some(Self {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
            count: times.len(),
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [self.p50, self.p99, self.max].map(ms);
        write!(f, "p50 {p50}, p99 {p99}, max {max} ({})", self.count)
    }
}

/// The middle one.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    values.get(middle).copied()
}

pub(super) fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

pub(super) fn kib(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_the_sorted_times() {
        let times: Vec<_> = (1..=101).rev().map(Duration::from_millis).collect();
        assert_eq!(
            Spread::of(times).unwrap().to_string(),
            "p50 51.00 ms, p99 100.00 ms, max 101.00 ms (101)"
        );
        assert_eq!(
            Spread::of(vec![Duration::from_millis(3)])
                .unwrap()
                .to_string(),
            "p50 3.00 ms, p99 3.00 ms, max 3.00 ms (1)"
        );
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn the_median_is_a_value_that_was_measured() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(1.0));
        assert_eq!(median(Vec::new()), None);
    }
}
