//! What this node says about itself: everything that decides which hooks can work.
//!
//! Only [`Facts::gather`] asks; whoever decides takes [`Facts`], so that a decision can be tested
//! with what was recorded elsewhere.

mod bpf;
mod process;
mod tracefs;

use std::fs;
use std::path::{Path, PathBuf};

pub use bpf::{Access, Calls};
pub use process::{Capabilities, Capability, Memlock, Seccomp};
pub use tracefs::{SignalFields, Tracefs, signal_fields};

use super::btf::{Btf, KERNEL_BTF};
use super::layout::{self, Layout};
use crate::cgroup::hierarchy::{CGROUP_ROOT, MemoryRoot};

/// Where to look.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Raw BTF of the running kernel.
    pub btf: PathBuf,
    /// The procfs of the initial PID namespace.
    pub proc_root: PathBuf,
    /// The root of the cgroup hierarchies.
    pub cgroup_root: PathBuf,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            btf: KERNEL_BTF.into(),
            proc_root: "/proc".into(),
            cgroup_root: CGROUP_ROOT.into(),
        }
    }
}

/// How far the kernel is locked down (`security/lockdown/lockdown.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Not at all.
    None,
    /// No writing into the kernel.
    Integrity,
    /// No reading of its memory either: no kprobes, no tracefs, no `bpf_probe_read_kernel`.
    Confidentiality,
    /// Not to be seen: no securityfs here, or a kernel without that module.
    Unknown,
}

/// What the running kernel and this process's place on it offer.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kernel's release, for people: nothing is decided by it.
    pub release: String,
    /// Where BTF was looked for.
    pub btf_path: PathBuf,
    /// The kernel's structures and hooks, or why BTF could not be used.
    pub btf: Result<Layout, String>,
    /// How far the kernel is locked down.
    pub lockdown: Lockdown,
    /// The plain tracepoint, or why tracefs does not show it.
    pub tracefs: Result<Tracefs, String>,
    /// Whether the kernel has kprobes for `perf_event_open`.
    pub kprobes: bool,
    /// This process's effective capabilities.
    pub capabilities: Capabilities,
    /// Whether they count: they do only in the initial user namespace.
    pub initial_user_namespace: bool,
    /// This process's seccomp mode.
    pub seccomp: Seccomp,
    /// `RLIMIT_MEMLOCK` of this process.
    pub memlock: Memlock,
    /// What bpf(2) answers.
    pub bpf: Calls,
    /// Whether `proc_root` shows the processes of the initial PID namespace, or why not.
    pub host_proc: Result<(), String>,
    /// Where the memory controller's hierarchy is, or why there is none.
    pub cgroup: Result<MemoryRoot, String>,
}

/// Inode number of the initial user namespace: `PROC_USER_INIT_INO`, include/linux/proc_ns.h.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

impl Facts {
    /// Asks the node. What can't be found out is said so in its place: this never fails.
    #[must_use]
    pub fn gather(sources: &Sources) -> Self {
        let btf = Btf::read(&sources.btf).map(|btf| layout::resolve(&btf));
        let status = read("/proc/self/status").unwrap_or_default();
        let user_namespace = fs::read_link("/proc/self/ns/user").unwrap_or_default();
        Self {
            release: read("/proc/sys/kernel/osrelease")
                .map_or_else(String::new, |text| text.trim().to_owned()),
            btf_path: sources.btf.clone(),
            btf: btf.map_err(|error| error.to_string()),
            lockdown: read("/sys/kernel/security/lockdown")
                .map_or(Lockdown::Unknown, |text| Lockdown::parse(&text)),
            tracefs: Tracefs::gather(),
            kprobes: Path::new("/sys/bus/event_source/devices/kprobe/type").exists(),
            capabilities: Capabilities::parse(&status),
            initial_user_namespace: user_namespace == Path::new(INITIAL_USER_NAMESPACE),
            seccomp: Seccomp::parse(&status),
            memlock: Memlock::gather(),
            bpf: Calls::gather(),
            host_proc: process::initial_pid_namespace(&sources.proc_root),
            cgroup: MemoryRoot::detect(&sources.cgroup_root).map_err(|error| error.to_string()),
        }
    }

    /// Whether bpf(2) is to be had, and who refuses it if not.
    #[must_use]
    pub fn bpf_access(&self) -> Access {
        let initial = self.initial_user_namespace;
        Access::of(self.bpf, self.capabilities, initial, self.seccomp)
    }
}

impl Lockdown {
    /// Parses `none [integrity] confidentiality`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_whitespace().find(|word| word.starts_with('[')) {
            Some("[none]") => Self::None,
            Some("[integrity]") => Self::Integrity,
            Some("[confidentiality]") => Self::Confidentiality,
            _ => Self::Unknown,
        }
    }

    /// The kernel's own word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
            Self::Unknown => "unknown",
        }
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::Lockdown;

    #[test]
    fn the_lockdown_in_brackets_holds() {
        for (text, lockdown) in [
            ("[none] integrity confidentiality\n", Lockdown::None),
            ("none [integrity] confidentiality\n", Lockdown::Integrity),
            (
                "none integrity [confidentiality]\n",
                Lockdown::Confidentiality,
            ),
            ("none integrity confidentiality\n", Lockdown::Unknown),
            ("[everything]", Lockdown::Unknown),
            ("", Lockdown::Unknown),
        ] {
            assert_eq!(Lockdown::parse(text), lockdown, "{text:?}");
        }
    }
}
