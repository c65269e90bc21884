//! `process_*`, as every Prometheus client library has them, from `/proc/self`.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::procfs;

/// Ticks per second of the times in `/proc`: `USER_HZ`, 100 on every architecture that has BTF
/// (include/uapi/asm-generic/param.h).
const USER_HZ: f64 = 100.0;

/// Reads `/proc/self` with each scrape.
#[derive(Debug)]
pub(crate) struct ProcessCollector {
    start_time_seconds: Option<f64>,
}

/// What is taken from `/proc/self/stat`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    /// Since boot.
    start_seconds: f64,
}

/// What is taken from `/proc/self/status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Memory {
    virtual_bytes: Option<u64>,
    resident_bytes: Option<u64>,
}

impl ProcessCollector {
    /// The start time is read now.
    pub(crate) fn new() -> Self {
        Self {
            start_time_seconds: start_time(),
        }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let memory = procfs::read_to_string(Path::new("/proc/self/status"))
            .map(|status| memory(&status))
            .unwrap_or_default();
        let stat = read_stat();
        // The directory that is being read is open too; it is not the daemon's.
        let open_fds = fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| (entries.count() as u64).saturating_sub(1));

        if let Some(stat) = stat {
            let counter = ConstCounter::new(stat.cpu_seconds);
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                "User and system CPU time.",
                None,
                counter.metric_type(),
            )?)?;
        }
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Resident memory.",
                memory.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Size of the address space.",
                memory.virtual_bytes,
            ),
            ("process_open_fds", "Open file descriptors.", open_fds),
        ] {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        if let Some(start_time) = self.start_time_seconds {
            let gauge = ConstGauge::new(start_time);
            gauge.encode(encoder.encode_descriptor(
                "process_start_time_seconds",
                "Start of the process, seconds since the epoch.",
                None,
                gauge.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

fn read_stat() -> Option<Stat> {
    parse_stat(&procfs::read_to_string(Path::new("/proc/self/stat")).ok()?)
}

/// The uptime rather than `btime` of `/proc/stat`, whose interrupt lines make that file long on
/// large machines.
fn start_time() -> Option<f64> {
    let uptime = procfs::read_to_string(Path::new("/proc/uptime")).ok()?;
    let uptime: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let boot = now.as_secs_f64() - uptime;
    // Both clocks tick in hundredths: more digits would be noise.
    Some(((boot + read_stat()?.start_seconds) * USER_HZ).round() / USER_HZ)
}

/// proc_pid_stat(5): the fields are counted from 1, and the second one, the name in parentheses,
/// may hold spaces and parentheses itself.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu_seconds: (field(14)? + field(15)?) / USER_HZ,
        start_seconds: field(22)? / USER_HZ,
    })
}

/// proc_pid_status(5): `VmSize` and `VmRSS`, in kB.
fn memory(status: &str) -> Memory {
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let number: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        number.checked_mul(1024)
    };
    Memory {
        virtual_bytes: kilobytes("VmSize:"),
        resident_bytes: kilobytes("VmRSS:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_shifts_no_field() {
        let stat = "4711 (oom) probe (x) S 1 4711 4711 0 -1 4194560 900 0 3 0 25 17 0 0 20 0 2 0 \
                    123456 8597504 2048 18446744073709551615 1 1 0 0";
        assert_eq!(
            parse_stat(stat),
            Some(Stat {
                cpu_seconds: 0.42,
                start_seconds: 1234.56
            })
        );
        assert_eq!(parse_stat(""), None);
        assert_eq!(parse_stat("1 (x) S 1"), None);
    }

    #[test]
    fn sizes_come_in_bytes_and_a_missing_line_is_absent() {
        let status = "Name:\toom-probe\nVmSize:\t    8396 kB\nVmRSS:\t    5120 kB\nThreads:\t2\n";
        let expected = Memory {
            virtual_bytes: Some(8396 * 1024),
            resident_bytes: Some(5120 * 1024),
        };
        assert_eq!(memory(status), expected);
        assert_eq!(memory("Name:\tkthreadd\n"), Memory::default());
    }

    #[test]
    fn this_process_started_a_moment_ago() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - start_time().unwrap();
        assert!((-1.0..3600.0).contains(&age), "{age} s");
    }
}
