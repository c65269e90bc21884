//! Why a rung of the ladder is no use trying, and what to do about it.

use std::fmt;

use crate::environment::{Access, Capability};

/// Why a hook can't work on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// bpf(2) is refused.
    Bpf(Access),
    /// Maps count against `RLIMIT_MEMLOCK`, which is too low and can't be raised.
    Memlock,
    /// There is no BTF; the reason.
    NoBtf(String),
    /// The tracepoint tells that the BTF file belongs to another kernel.
    ForeignBtf,
    /// `mark_victim` has another form, for which there is another rung.
    OtherForm(&'static str),
    /// The hook's prototype is not one that is known; the reason.
    UnknownPrototype(String),
    /// The kernel has no member that is needed; which.
    NoMember(String),
    /// Lockdown refuses it; what.
    Lockdown(&'static str),
    /// The kernel does not hand out typed pointers to the current task.
    NoTypedTask,
    /// tracefs does not show the tracepoint; the reason.
    NoTracefs(String),
    /// The tracepoint's `format` has no pid of 4 bytes.
    NoPid,
    /// The kernel has no kprobes.
    NoKprobes,
    /// It was tried, and this is what the kernel said.
    Refused(String),
}

impl Obstacle {
    /// What to do about it, where something can be done on this node.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Bpf(Access::Seccomp) => {
                "allow bpf and perf_event_open in the seccomp profile (Kubernetes: \
                 seccompProfile.type Unconfined)"
                    .into()
            }
            Self::Bpf(Access::Capability(missing)) => {
                format!("run as root, or add the capabilities {}", names(missing))
            }
            Self::Bpf(Access::UserNamespace) => {
                "run in the initial user namespace (Kubernetes: hostUsers true)".into()
            }
            Self::Bpf(Access::Denied) => {
                "look for a denial of bpf in the audit log; SELinux: run as spc_t".into()
            }
            Self::Memlock => "add the capability SYS_RESOURCE, or raise RLIMIT_MEMLOCK".into(),
            Self::NoBtf(_) => {
                "use a kernel with CONFIG_DEBUG_INFO_BTF, or give its BTF by --btf".into()
            }
            Self::ForeignBtf => "give the BTF of the running kernel by --btf".into(),
            Self::NoTracefs(_) => {
                "mount it: mount -t tracefs tracefs /sys/kernel/tracing (in a pod: as hostPath)"
                    .into()
            }
            Self::Bpf(Access::NotBuilt) => "use a kernel with CONFIG_BPF_SYSCALL".into(),
            Self::Bpf(Access::Granted | Access::Failed(_))
            | Self::OtherForm(_)
            | Self::UnknownPrototype(_)
            | Self::NoMember(_)
            | Self::Lockdown(_)
            | Self::NoTypedTask
            | Self::NoPid
            | Self::NoKprobes
            | Self::Refused(_) => return None,
        })
    }

    /// How much it says when nothing works at all: the rung that merely does not apply says less
    /// than one that could be made to work.
    pub(super) const fn weight(&self) -> u8 {
        match self {
            Self::OtherForm(_) => 0,
            Self::UnknownPrototype(_)
            | Self::NoMember(_)
            | Self::NoTypedTask
            | Self::NoPid
            | Self::NoKprobes => 1,
            Self::Lockdown(_) | Self::NoTracefs(_) | Self::Refused(_) => 2,
            Self::NoBtf(_) | Self::ForeignBtf => 3,
            Self::Memlock | Self::Bpf(_) => 4,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bpf(Access::Granted) => write!(f, "bpf(2) works"),
            Self::Bpf(Access::NotBuilt) => write!(f, "the kernel has no bpf(2)"),
            Self::Bpf(Access::Seccomp) => write!(f, "a seccomp filter refuses bpf(2)"),
            Self::Bpf(Access::Capability(missing)) => {
                write!(f, "missing capabilities: {}", names(missing))
            }
            Self::Bpf(Access::UserNamespace) => {
                write!(f, "capabilities do not count in this user namespace")
            }
            Self::Bpf(Access::Denied) => write!(f, "a security module refuses bpf(2)"),
            Self::Bpf(Access::Failed(error)) => {
                write!(
                    f,
                    "bpf(2) fails: {}",
                    std::io::Error::from_raw_os_error(*error)
                )
            }
            Self::Memlock => {
                write!(
                    f,
                    "RLIMIT_MEMLOCK is too low for this kernel and cannot be raised"
                )
            }
            Self::NoBtf(why)
            | Self::UnknownPrototype(why)
            | Self::NoMember(why)
            | Self::NoTracefs(why) => write!(f, "{why}"),
            Self::ForeignBtf => write!(f, "the BTF file belongs to another kernel"),
            Self::OtherForm(form) => write!(f, "mark_victim hands over {form}"),
            Self::Lockdown(what) => write!(f, "lockdown=confidentiality refuses {what}"),
            Self::NoTypedTask => write!(f, "the kernel has no bpf_get_current_task_btf"),
            Self::NoPid => write!(f, "the tracepoint has no pid"),
            Self::NoKprobes => write!(f, "the kernel has no kprobes"),
            Self::Refused(why) => write!(f, "the kernel refuses to attach it: {why}"),
        }
    }
}

fn names(capabilities: &[Capability]) -> String {
    capabilities
        .iter()
        .map(|c| c.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}
