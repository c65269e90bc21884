//! Settings of the kernel that hold while something is measured.

use std::fs;

use anyhow::{Context as _, Result};

/// A setting that is put back when this is dropped.
pub(super) struct Sysctl {
    path: &'static str,
    before: String,
}

impl Sysctl {
    /// The kernel takes the time of every run of every BPF program.
    pub(super) fn bpf_stats() -> Result<Self> {
        Self::set("/proc/sys/kernel/bpf_stats_enabled", "1")
    }

    /// The kernel writes only what it dies of to its console. What else is in its log stays there.
    pub(super) fn quiet_console() -> Result<Self> {
        Self::set("/proc/sys/kernel/printk", "1")
    }

    fn set(path: &'static str, value: &str) -> Result<Self> {
        let before = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        fs::write(path, value).with_context(|| format!("cannot write {path}"))?;
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
