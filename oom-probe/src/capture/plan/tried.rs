//! What the kernel says to the hooks of a plan when they are attached.

use std::io;

use super::{Candidate, ContextHook, Mark, MarkHook, Obstacle, Plan, SignalHook};
use crate::capture::{btf::KERNEL_BTF, environment::Facts, layout::HookTypes, trial::Target};

/// Whether the best hooks that are left were attached; if not, there is no telling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Those that victims come from.
    pub mark: bool,
    /// Those around an OOM event.
    pub context: bool,
}

impl Plan {
    /// Attaches the hooks, best first, until one of each kind is attached or cannot be tried. Those
    /// that the kernel refuses have an obstacle then.
    pub fn try_out(&mut self, facts: &Facts, attach: &dyn Fn(Target) -> io::Result<()>) -> Tried {
        // A file that was named may have the same types under other ids.
        let own = facts.btf_path.as_os_str() == KERNEL_BTF;
        let layout = facts.btf.as_ref().ok().filter(|_| own);
        let types = layout.map(|layout| layout.hook_types).unwrap_or_default();
        Tried {
            mark: first(&mut self.marks, attach, |mark| mark.targets(types)),
            context: first(&mut self.contexts, attach, |hook| hook.targets(types)),
        }
    }
}

/// Whether a hook was attached.
fn first<H: Copy>(
    candidates: &mut [Candidate<H>],
    attach: &dyn Fn(Target) -> io::Result<()>,
    targets: impl Fn(H) -> Option<[Target; 2]>,
) -> bool {
    let usable = candidates.iter_mut().filter(|c| c.obstacle.is_none());
    for candidate in usable {
        let Some(targets) = targets(candidate.hook) else {
            return false;
        };
        match targets.into_iter().try_for_each(attach) {
            Ok(()) => return true,
            Err(error) => candidate.obstacle = Some(Obstacle::Refused(error.to_string())),
        }
    }
    false
}

impl Mark {
    /// Where its programs go, as far as that can be tried.
    fn targets(self, types: HookTypes) -> Option<[Target; 2]> {
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

impl ContextHook {
    /// As for marks.
    fn targets(self, types: HookTypes) -> Option<[Target; 2]> {
        let function = types.oom_kill_process?;
        match self {
            Self::Fentry | Self::FentryDirect => {
                Some([Target::Fexit(function), Target::Fentry(function)])
            }
            Self::Kprobe => None,
        }
    }
}
