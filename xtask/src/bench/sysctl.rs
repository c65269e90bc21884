//! Settings of the kernel that hold while something is measured.

use std::fs;

use anyhow::{Context as _, Result};

const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
const PRINTK: &str = "/proc/sys/kernel/printk";

/// A setting that is put back when this is dropped.
pub(super) struct Sysctl {
    path: &'static str,
    before: String,
}

impl Sysctl {
    /// Each of them, to be put back to what it is now.
    pub(super) fn as_they_are() -> Result<[Self; 2]> {
        Ok([Self::read(BPF_STATS)?, Self::read(PRINTK)?])
    }

    /// The kernel takes the time of every run of every BPF program.
    pub(super) fn bpf_stats() -> Result<Self> {
        Self::set(BPF_STATS, "1")
    }

    /// The kernel writes only what it dies of to its console. What else is in its log stays there.
    pub(super) fn quiet_console() -> Result<Self> {
        Self::set(PRINTK, "1")
    }

    fn set(path: &'static str, value: &str) -> Result<Self> {
        let setting = Self::read(path)?;
        fs::write(path, value).with_context(|| format!("cannot write {path}"))?;
        Ok(setting)
    }

    fn read(path: &'static str) -> Result<Self> {
        let before = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        Ok(Self { path, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        if let Err(error) = fs::write(self.path, &self.before) {
            eprintln!(
                "bench: {} is not put back to {}: {error}",
                self.path,
                self.before.trim()
            );
        }
    }
}
