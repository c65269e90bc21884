//! What this process may do, and which processes it sees.

use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;

/// A capability that the hooks need (include/uapi/linux/capability.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `CAP_SYS_ADMIN`, which contains the two below.
    SysAdmin,
    /// `CAP_SYS_RESOURCE`: to raise `RLIMIT_MEMLOCK`.
    SysResource,
    /// `CAP_PERFMON`: for tracing programs and for reading the kernel's memory.
    Perfmon,
    /// `CAP_BPF`: for maps and programs.
    Bpf,
}

impl Capability {
    const fn bit(self) -> u64 {
        match self {
            Self::SysAdmin => 1 << 21,
            Self::SysResource => 1 << 24,
            Self::Perfmon => 1 << 38,
            Self::Bpf => 1 << 39,
        }
    }

    /// Its name, as Kubernetes wants it below `capabilities.add`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SysAdmin => "SYS_ADMIN",
            Self::SysResource => "SYS_RESOURCE",
            Self::Perfmon => "PERFMON",
            Self::Bpf => "BPF",
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The effective set from the text of `/proc/self/status`; empty where it is not there.
    #[must_use]
    pub fn parse(status: &str) -> Self {
        let bits = field(status, "CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        Self(bits.unwrap_or(0))
    }

    /// Exactly these.
    #[must_use]
    pub fn of(capabilities: &[Capability]) -> Self {
        Self(
            capabilities
                .iter()
                .fold(0, |bits, capability| bits | capability.bit()),
        )
    }

    /// Whether that one is in the set, by itself or in `CAP_SYS_ADMIN`.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        let implied = match capability {
            Capability::Bpf | Capability::Perfmon => Capability::SysAdmin.bit(),
            Capability::SysAdmin | Capability::SysResource => 0,
        };
        self.0 & (capability.bit() | implied) != 0
    }

    /// Those of `wanted` that are not in the set.
    #[must_use]
    pub fn missing(self, wanted: &[Capability]) -> Vec<Capability> {
        wanted
            .iter()
            .copied()
            .filter(|&capability| !self.has(capability))
            .collect()
    }
}

/// The seccomp mode of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// No system call is filtered.
    Disabled,
    /// A filter decides, such as a container runtime's.
    Filter,
    /// Not to be seen.
    Unknown,
}

impl Seccomp {
    /// The mode from the text of `/proc/self/status`.
    #[must_use]
    pub fn parse(status: &str) -> Self {
        match field(status, "Seccomp:") {
            Some("0") => Self::Disabled,
            Some("1" | "2") => Self::Filter,
            _ => Self::Unknown,
        }
    }
}

/// `RLIMIT_MEMLOCK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memlock {
    /// What holds, bytes; `u64::MAX` is no limit.
    pub soft: u64,
    /// Up to where the process may raise it, bytes.
    pub hard: u64,
}

impl Memlock {
    pub(super) fn gather() -> Self {
        let mut limit = MaybeUninit::<libc::rlimit>::uninit();
        // SAFETY: the call writes the whole struct that it is given a valid pointer to.
        let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, limit.as_mut_ptr()) };
        if result != 0 {
            return Self { soft: 0, hard: 0 };
        }
        // SAFETY: the call has succeeded, and so has written it.
        let limit = unsafe { limit.assume_init() };
        Self {
            soft: limit.rlim_cur,
            hard: limit.rlim_max,
        }
    }
}

/// `PF_KTHREAD`, include/linux/sched.h.
const PF_KTHREAD: u64 = 0x0020_0000;

/// Whether a procfs shows the initial PID namespace: only there pid 2 is kthreadd
/// (init/main.c `rest_init`). The error says why not.
pub(super) fn initial_pid_namespace(proc_root: &Path) -> Result<(), String> {
    let path = proc_root.join("2/stat");
    let shown = proc_root.display();
    match fs::read_to_string(&path) {
        Ok(stat) if flags(&stat).is_some_and(|flags| flags & PF_KTHREAD != 0) => Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot read {}: {error}", path.display()))
        }
        _ => Err(format!(
            "{shown} does not show the processes of the whole node"
        )),
    }
}

/// `flags` of a `/proc/<pid>/stat`. The name before it may hold spaces and parentheses.
fn flags(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(6)?.parse().ok()
}

/// The value behind a key of `/proc/self/status`.
fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Capability::{Bpf, Perfmon, SysAdmin, SysResource};

    #[test]
    fn the_capabilities_of_a_process_are_read_from_its_status() {
        for (cap_eff, missing) in [
            ("000001ffffffffff", &[][..]),
            ("000000c000000000", &[SysAdmin, SysResource]),
            ("0000008000000000", &[Perfmon, SysAdmin, SysResource]),
            ("0000000000200000", &[SysResource]),
            ("00000000a80425fb", &[Bpf, Perfmon, SysAdmin, SysResource]),
            ("what", &[Bpf, Perfmon, SysAdmin, SysResource]),
        ] {
            let status = format!("Name:\tcat\nCapPrm:\t000001ffffffffff\nCapEff:\t{cap_eff}\n");
            let found = Capabilities::parse(&status);
            assert_eq!(
                found.missing(&[Bpf, Perfmon, SysAdmin, SysResource]),
                missing,
                "{cap_eff}"
            );
        }
        assert_eq!(Capabilities::parse(""), Capabilities::of(&[]));
    }

    #[test]
    fn the_seccomp_mode_is_not_mistaken_for_the_number_of_filters() {
        for (status, mode) in [
            ("Seccomp:\t0\nSeccomp_filters:\t0\n", Seccomp::Disabled),
            ("Seccomp_filters:\t1\nSeccomp:\t2\n", Seccomp::Filter),
            ("Seccomp_filters:\t1\n", Seccomp::Unknown),
        ] {
            assert_eq!(Seccomp::parse(status), mode, "{status:?}");
        }
    }

    #[test]
    fn only_a_procfs_with_kernel_threads_is_that_of_the_node() {
        for (stat, shows) in [
            (Some("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0"), true),
            (Some("2 (a) (b c) S 0 0 0 0 -1 2129984 0 0"), true),
            (Some("2 (sh) S 1 2 2 0 -1 4194560 100 0"), false),
            (Some("2 (sh"), false),
            (None, false),
        ] {
            let proc_root = tempfile::tempdir().unwrap();
            if let Some(stat) = stat {
                fs::create_dir(proc_root.path().join("2")).unwrap();
                fs::write(proc_root.path().join("2/stat"), stat).unwrap();
            }
            assert_eq!(
                initial_pid_namespace(proc_root.path()).is_ok(),
                shows,
                "{stat:?}"
            );
        }
    }
}
