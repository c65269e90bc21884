//! The hooks that a plan chooses from.

use oom_probe_common::{
    ABI_VERSION,
    offsets::{ABSENT, Settings},
};
use rustix::thread::CapabilitySet;

use crate::capture::{environment::SignalFields, layout::HookTypes, trial::Target};

/// A way to learn of victims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where and how victims are read.
    pub hook: MarkHook,
    /// The hook on SIGKILLs that goes with it: it tells kills from marks of tasks that were dying
    /// anyway, and sees the processes killed for sharing a victim's mm.
    pub signal: Option<SignalHook>,
}

/// Where victims are read, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkHook {
    /// `raw_tp/mark_victim`, which hands over the task; reads by `bpf_probe_read_kernel`.
    RawTp,
    /// `tp_btf/mark_victim`, which hands over the task; direct loads.
    TpBtf(Names),
    /// `raw_tp/mark_victim` hands over a pid, `raw_tp/signal_generate` just before it the task.
    SignalRawTp,
    /// The same with `tp_btf/signal_generate` and direct loads.
    SignalTpBtf(Names),
    /// The plain tracepoint: a pid, with the rest from `/proc`.
    Tracepoint {
        /// Offset of the pid in its record, bytes.
        pid_offset: u32,
    },
}

/// Whether direct loads are joined by `bpf_probe_read_kernel_str` for the names of cgroups, which
/// some kernels lend under lockdown=confidentiality (7.2) and some don't (6.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// They are read.
    Read,
    /// Only ids are: user space maps them to paths.
    Skipped,
}

/// How the hook on signals reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalHook {
    /// `raw_tp/signal_generate`, reads by `bpf_probe_read_kernel`.
    RawTp,
    /// `tp_btf/signal_generate`, direct loads.
    TpBtf,
    /// The plain tracepoint: the id of the thread that a signal goes to.
    Tracepoint(SignalFields),
}

/// How entry to and return from `oom_kill_process` are hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextHook {
    /// `fentry` and `fexit`, reads by `bpf_probe_read_kernel`.
    Fentry,
    /// `fentry` and `fexit`, direct loads.
    FentryDirect,
    /// `kprobe` and `kretprobe`.
    Kprobe,
}

impl Mark {
    /// What the kernel programs are told.
    #[must_use]
    pub const fn settings(self) -> Settings {
        let whole = matches!(self.hook, MarkHook::SignalRawTp | MarkHook::SignalTpBtf(_));
        let nameless = matches!(
            self.hook,
            MarkHook::TpBtf(Names::Skipped) | MarkHook::SignalTpBtf(Names::Skipped)
        );
        let fields = match self.signal {
            Some(SignalHook::Tracepoint(fields)) => fields,
            _ => SignalFields {
                sig: ABSENT,
                code: ABSENT,
                pid: ABSENT,
            },
        };
        Settings {
            whole_signals: whole as u32,
            names: !nameless as u32,
            tracepoint_pid: match self.hook {
                MarkHook::Tracepoint { pid_offset } => pid_offset,
                _ => ABSENT,
            },
            signal_sig: fields.sig,
            signal_code: fields.code,
            signal_pid: fields.pid,
            probe_reads: matches!(self.hook, MarkHook::SignalRawTp) as u32,
            version: ABI_VERSION as u32,
            generation: 0,
        }
    }

    /// The value as it stands in labels and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self.hook {
            MarkHook::RawTp => "raw_tp",
            MarkHook::TpBtf(_) => "tp_btf",
            MarkHook::SignalRawTp => "signal_raw_tp",
            MarkHook::SignalTpBtf(_) => "signal_tp_btf",
            MarkHook::Tracepoint { .. } => "tracepoint",
        }
    }

    /// The hook in words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self.hook {
            MarkHook::RawTp => "raw_tp/mark_victim",
            MarkHook::TpBtf(Names::Read) => "tp_btf/mark_victim, direct loads",
            MarkHook::TpBtf(Names::Skipped) => "tp_btf/mark_victim, direct loads, no names",
            MarkHook::SignalRawTp => "raw_tp/signal_generate with raw_tp/mark_victim",
            MarkHook::SignalTpBtf(Names::Read) => {
                "tp_btf/signal_generate with raw_tp/mark_victim, direct loads"
            }
            MarkHook::SignalTpBtf(Names::Skipped) => {
                "tp_btf/signal_generate with raw_tp/mark_victim, direct loads, no names"
            }
            MarkHook::Tracepoint { .. } => "tracepoint oom:mark_victim with /proc",
        }
    }
    /// Where its programs go, as far as that can be tried.
    pub(super) fn targets(self, types: HookTypes) -> Option<[Target; 2]> {
        let mark = match self.hook {
            MarkHook::TpBtf(_) => Target::TpBtf(types.mark_victim?),
            MarkHook::RawTp | MarkHook::SignalRawTp | MarkHook::SignalTpBtf(_) => {
                Target::RawTp(c"mark_victim")
            }
            MarkHook::Tracepoint { .. } => return None,
        };
        let signal = match self.signal {
            Some(SignalHook::RawTp) => Target::RawTp(c"signal_generate"),
            Some(SignalHook::TpBtf) => Target::TpBtf(types.signal_generate?),
            Some(SignalHook::Tracepoint(_)) => return None,
            None => mark,
        };
        Some([signal, mark])
    }
}

impl MarkHook {
    /// What the rest of the run needs of the capabilities that the daemon was started with.
    ///
    /// On the lowest rung a victim's PID namespace is read from `/proc/<pid>/ns`, which takes the
    /// right to trace it (`fs/proc/namespaces.c`, `proc_ns_readlink`).
    #[must_use]
    pub const fn needed_capabilities(self) -> CapabilitySet {
        match self {
            Self::Tracepoint { .. } => CapabilitySet::SYS_PTRACE,
            Self::RawTp | Self::TpBtf(_) | Self::SignalRawTp | Self::SignalTpBtf(_) => {
                CapabilitySet::empty()
            }
        }
    }
}

impl ContextHook {
    /// The value as it stands in labels and JSON; `none` where there is no context.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fentry | Self::FentryDirect => "fentry",
            Self::Kprobe => "kprobe",
        }
    }

    /// The hook in words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Fentry => "fentry and fexit of oom_kill_process",
            Self::FentryDirect => "fentry and fexit of oom_kill_process, direct loads",
            Self::Kprobe => "kprobe and kretprobe of oom_kill_process",
        }
    }
    /// As for marks.
    pub(super) fn targets(self, types: HookTypes) -> Option<[Target; 2]> {
        let function = types.oom_kill_process?;
        match self {
            Self::Fentry | Self::FentryDirect => {
                Some([Target::Fexit(function), Target::Fentry(function)])
            }
            Self::Kprobe => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rung_that_reads_proc_keeps_the_right_to() {
        let lowest = MarkHook::Tracepoint { pid_offset: 8 };
        assert_eq!(lowest.needed_capabilities(), CapabilitySet::SYS_PTRACE);
        assert_eq!(
            MarkHook::RawTp.needed_capabilities(),
            CapabilitySet::empty()
        );
    }
}
