//! Metrics that mirror what the kernel counts.

use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// A reading of the ledger and of `/proc/vmstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounters {
    /// How often `mark_victim` fired while hooked.
    pub kernel_marks: u64,
    /// Records of any kind that the ring had no room for.
    pub records_dropped: u64,
    /// `oom_kill` of `/proc/vmstat`; absent where it could not be read.
    pub vmstat_oom_kills: Option<u64>,
    /// Distance of the kills known from what `/proc/vmstat` allows; absent where that could not be
    /// read.
    pub unaccounted_kills: Option<u64>,
}

/// The latest reading, encoded with each scrape.
#[derive(Debug, Default)]
pub(super) struct KernelCounters(Mutex<NodeCounters>);

impl KernelCounters {
    pub(super) fn set(&self, counters: NodeCounters) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }
}

impl Collector for KernelCounters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let NodeCounters {
            kernel_marks,
            records_dropped,
            vmstat_oom_kills,
            unaccounted_kills,
        } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = [
            (
                "oom_probe_kernel_marks",
                "Times that the kernel marked an OOM victim",
                Some(kernel_marks),
            ),
            (
                "oom_probe_records_dropped",
                "Records that the ring buffer had no room for",
                Some(records_dropped),
            ),
            (
                "oom_probe_vmstat_oom_kills",
                "The kernel's own count of OOM kills since boot",
                vmstat_oom_kills,
            ),
        ];
        for (name, help, value) in counters {
            let Some(value) = value else { continue };
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                &format!("{help}."),
                None,
                counter.metric_type(),
            )?)?;
        }
        if let Some(unaccounted) = unaccounted_kills {
            let gauge = ConstGauge::new(unaccounted);
            gauge.encode(encoder.encode_descriptor(
                "oom_probe_unaccounted_kills",
                "Distance of the kills known from the kernel's own count: must be 0.",
                None,
                gauge.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::exposition::{self, Encoding, Format};
    use crate::sinks::metrics::Metrics;

    fn scrape(counters: NodeCounters) -> String {
        let (metrics, registry) = Metrics::new();
        metrics.set_node_counters(counters);
        let body = exposition::encode(&registry, Format::Text, Encoding::Identity).unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn a_reading_comes_out_with_its_types() {
        let text = scrape(NodeCounters {
            kernel_marks: 7,
            records_dropped: 2,
            vmstat_oom_kills: Some(u64::MAX),
            unaccounted_kills: Some(3),
        });
        for line in [
            "# TYPE oom_probe_kernel_marks_total counter",
            "oom_probe_kernel_marks_total 7",
            "oom_probe_records_dropped_total 2",
            "# TYPE oom_probe_vmstat_oom_kills_total counter",
            "oom_probe_vmstat_oom_kills_total 18446744073709551615",
            "# TYPE oom_probe_unaccounted_kills gauge",
            "oom_probe_unaccounted_kills 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_absent() {
        let text = scrape(NodeCounters::default());
        assert!(!text.contains("vmstat"), "{text}");
        assert!(!text.contains("unaccounted"), "{text}");
    }
}
