//! The hook ladder: from what the kernel offers to the hooks to try, best first.
//!
//! Nothing is decided by the kernel's version. Where two ways look possible both are in the plan,
//! and whoever loads goes on to the next when the verifier or the attachment refuses one.

mod ladder;
mod obstacle;
mod parts;
mod tried;

use oom_probe_common::{
    ABI_VERSION,
    offsets::{ABSENT, Settings},
};

use crate::capture::environment::Facts;
pub use obstacle::Obstacle;
pub use tried::Tried;

/// What to try, best first, and what will not be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Ways to learn of victims.
    pub marks: Vec<Candidate<Mark>>,
    /// Ways to learn of the memory cgroup that ran out. Kills are captured without them.
    pub contexts: Vec<Candidate<ContextHook>>,
    /// How that cgroup is told where none of `contexts` loads.
    pub without_context: DomainSource,
}

/// A rung of the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<H> {
    /// What to load.
    pub hook: H,
    /// Why it is no use trying, if so.
    pub obstacle: Option<Obstacle>,
    /// What records lack on this rung.
    pub losses: Vec<Loss>,
}

/// A part of a record that will be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which part.
    pub what: &'static str,
    /// Why, or what takes its place.
    pub why: String,
}

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

/// Offsets in the record of the plain tracepoint `signal:signal_generate`, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalFields {
    /// Which signal.
    pub sig: u32,
    /// Who sends it: `SI_KERNEL` for the kernel itself.
    pub code: u32,
    /// The thread that it goes to.
    pub pid: u32,
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

/// How the memory cgroup that ran out is told without [`ContextHook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainSource {
    /// It is the topmost ancestor whose `mem_cgroup.oom_lock` is set.
    OomLock,
    /// It is the lowest ancestor whose usage has reached its limit.
    Inferred,
}

/// Lays out the ladder for a node.
#[must_use]
pub fn plan(facts: &Facts) -> Plan {
    Plan {
        marks: ladder::marks(facts),
        contexts: ladder::contexts(facts),
        without_context: match &facts.btf {
            Ok(layout) if layout.has(&["memcg_oom_lock"]) => DomainSource::OomLock,
            _ => DomainSource::Inferred,
        },
    }
}

impl Plan {
    /// The marks to try, best first.
    pub fn usable_marks(&self) -> impl Iterator<Item = &Candidate<Mark>> {
        self.marks
            .iter()
            .filter(|candidate| candidate.obstacle.is_none())
    }

    /// The contexts to try, best first.
    pub fn usable_contexts(&self) -> impl Iterator<Item = &Candidate<ContextHook>> {
        self.contexts
            .iter()
            .filter(|candidate| candidate.obstacle.is_none())
    }

    /// Why no kill can be captured, from the rung that comes closest; `None` where one can.
    #[must_use]
    pub fn refusal(&self) -> Option<&Obstacle> {
        if self.usable_marks().next().is_some() {
            return None;
        }
        let obstacles = self
            .marks
            .iter()
            .filter_map(|candidate| candidate.obstacle.as_ref());
        obstacles.max_by_key(|obstacle| (obstacle.weight(), obstacle.remedy().is_some()))
    }
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
}
