//! `process_*`, as every Prometheus client library has them, from `/proc/self`.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use capture::sys::procfs;

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
    virtual_bytes: u64,
    resident_bytes: u64,
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
        let stat = read_stat();
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
                stat.map(|stat| stat.resident_bytes),
            ),
            (
                "process_virtual_memory_bytes",
                "Size of the address space.",
                stat.map(|stat| stat.virtual_bytes),
            ),
            ("process_open_fds", "Open file descriptors.", open_fds()),
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

/// The size of the directory since Linux 6.2 (fs/proc/fd.c `proc_fd_getattr`), 0 before. Listing it
/// makes the kernel look up each file.
fn open_fds() -> Option<u64> {
    let directory = Path::new("/proc/self/fd");
    match fs::metadata(directory).ok()?.len() {
        // The directory that is being read is open too; it is not the daemon's.
        0 => Some((fs::read_dir(directory).ok()?.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

fn read_stat() -> Option<Stat> {
    let stat = procfs::read_to_string(Path::new("/proc/self/stat")).ok()?;
    // As C's library knows it: rustix reads the auxiliary vector itself, and dies of valgrind's.
    // SAFETY: sysconf has no preconditions.
    let page_size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    parse_stat(&stat, u64::try_from(page_size).ok()?)
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

/// proc_pid_stat(5), sizes in bytes and pages: the fields are counted from 1, and the second one, the name in parentheses,
/// may hold spaces and parentheses itself.
fn parse_stat(stat: &str, page_size: u64) -> Option<Stat> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let whole = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_seconds: (field(14)? + field(15)?) / USER_HZ,
        start_seconds: field(22)? / USER_HZ,
        virtual_bytes: whole(23)?,
        resident_bytes: whole(24)?.checked_mul(page_size)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_shifts_no_field() {
        let stat = "4711 (oom) probe (x) S 1 4711 4711 0 -1 4194560 900 0 3 0 25 17 0 0 20 0 2 0 \
                    123456 8597504 2048 18446744073709551615 1 1 0 0";
        assert_eq!(
            parse_stat(stat, 4096),
            Some(Stat {
                cpu_seconds: 0.42,
                start_seconds: 1234.56,
                virtual_bytes: 8_597_504,
                resident_bytes: 2048 * 4096,
            })
        );
        assert_eq!(parse_stat("", 4096), None);
        assert_eq!(parse_stat("1 (x) S 1", 4096), None);
    }

    #[test]
    fn open_files_are_counted() {
        let before = open_fds().unwrap();
        let _open = [(); 100].map(|()| fs::File::open("/dev/null").unwrap());
        // Other tests open and close theirs meanwhile.
        assert!(open_fds().unwrap() > before + 50, "{before}");
    }

    #[test]
    fn this_process_started_a_moment_ago() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - start_time().unwrap();
        assert!((-1.0..3600.0).contains(&age), "{age} s");
    }
}
