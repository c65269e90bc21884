//! The hook ladder: from what the kernel offers to the hooks to try, best first.
//!
//! Nothing is decided by the kernel's version. Where two ways look possible both are in the plan,
//! and whoever loads goes on to the next when the verifier or the attachment refuses one.

mod candidate;
mod hook;
mod ladder;
mod obstacle;
mod parts;

use std::io;

use super::{btf::KERNEL_BTF, environment::Facts, trial::Target};
pub use candidate::{Candidate, Loss};
pub use hook::{ContextHook, Mark, MarkHook, Names, SignalHook};
pub use obstacle::Obstacle;

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

/// How the memory cgroup that ran out is told without [`ContextHook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainSource {
    /// It is the topmost ancestor whose `mem_cgroup.oom_lock` is set.
    OomLock,
    /// It is the lowest ancestor whose usage has reached its limit.
    Inferred,
}

/// Whether the best hooks that are left were attached; if not, there is no telling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Those that victims come from.
    pub mark: bool,
    /// Those around an OOM event.
    pub context: bool,
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
