//! Which memory ran out: a cgroup's, or the machine's.

use oom_probe_common::record::{Domain, Level, domain, flag, level, valid};

use crate::{
    model::{
        identity::Identity,
        labels::{Cause, Constraint, Limit, LimitSource},
    },
    record::{PathLevel, Task},
};

/// Pages by which concurrent charges may overshoot a limit for a moment: each CPU charges up to a
/// batch of 64, or a huge page of 512 (mm/memcontrol.c `try_charge_memcg`).
const OVERSHOOT: u64 = 4096;

/// `PF_KTHREAD` of include/linux/sched.h.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Pages of a huge page: the largest single charge.
const LARGEST_CHARGE: u64 = 512;

/// What the kernel said when it entered `oom_kill_process`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// When that was, boot time.
    pub(super) since_ns: u64,
    pub(super) current_tid: u32,
    pub(super) domain: Domain,
}

/// What ran out in an OOM event, told from its first victim.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// The memory cgroup whose limit was hit; absent when it is no cgroup or not known.
    pub(super) memcg: Option<Domained>,
    /// The memory cgroup is among those levels of the victim's path that are left out, for all that
    /// can be told.
    left_out: bool,
    /// Without a memory cgroup: what ran out instead.
    pub(super) other: Option<Limit>,
    pub(super) source: Option<LimitSource>,
    pub(super) constraint: Option<Constraint>,
    pub(super) cause: Option<Cause>,
    pub(super) points: Option<i64>,
    /// The cgroup between victim and domain that has `memory.oom.group` set, the topmost.
    pub(super) group: Option<u64>,
    /// Whether that can be told at all.
    pub(super) group_known: bool,
}

/// A memory cgroup whose limit was hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Domained {
    pub(super) id: u64,
    pub(super) usage: Option<u64>,
    pub(super) max: Option<u64>,
}

impl Found {
    /// Tells what ran out from the context, else from what the first victim's cgroups looked like.
    pub(super) fn new(context: Option<&Context>, task: &Task<'_>) -> Self {
        let mut found = match context {
            Some(context) => Self::from_context(&context.domain),
            None => Self::default(),
        };
        if found.source.is_none() {
            found.infer(task);
        }
        if found.memcg.is_some() && found.domain_level(task).is_none() {
            found.left_out = task.path.left_out().is_some();
        }
        let top = found.domain_level(task).or(found.left_out_level(task));
        (found.group, found.group_known) = group(task, top);
        if found.cause.is_none() {
            found.cause = found.told_cause(task);
        }
        found
    }

    fn from_context(told: &Domain) -> Self {
        let has = |bit| told.valid & bit != 0;
        let constraint = has(domain::CONSTRAINT)
            .then(|| Constraint::ALL.get(told.constraint as usize).copied())
            .flatten();
        let mut found = Self {
            constraint,
            points: has(domain::POINTS).then_some(told.points),
            cause: (has(domain::ORDER) && told.order == -1).then_some(Cause::Sysrq),
            ..Self::default()
        };
        if has(domain::MEMCG) {
            found.memcg = Some(Domained {
                id: told.memcg,
                usage: Some(told.usage).filter(|usage| *usage > 0),
                max: Some(told.max).filter(|max| *max > 0 || told.usage > 0),
            });
            found.source = Some(LimitSource::Kernel);
        } else if has(domain::GLOBAL) {
            found.other = Some(match constraint {
                Some(Constraint::Cpuset) => Limit::Cpuset,
                Some(Constraint::MemoryPolicy) => Limit::Mempolicy,
                _ => Limit::Node,
            });
            found.source = Some(LimitSource::Kernel);
        }
        found
    }

    /// The topmost cgroup that an OOM event holds, else the lowest one that is full, or nearly so,
    /// else the machine.
    fn infer(&mut self, task: &Task<'_>) {
        let locked = task
            .path
            .iter()
            .enumerate()
            .filter(|(_, at)| at.level.memory & level::OOM_LOCK != 0)
            .last()
            .map(|at| (at, LimitSource::OomLock));
        let lowest = |is: fn(&Level) -> bool| {
            task.path
                .iter()
                .enumerate()
                .find(|(_, at)| is(&at.level))
                .map(|at| (at, LimitSource::Inferred))
        };
        let inferred = || lowest(is_full).or_else(|| lowest(is_nearly_full));
        match locked.or_else(inferred) {
            Some(((at, _), source)) if may_be_left_out(task, at, source) => {
                self.left_out = true;
                self.source = Some(source);
            }
            Some(((_, PathLevel { level, .. }), source)) => {
                self.memcg = Some(Domained {
                    id: level.id,
                    usage: Some(level.usage),
                    max: Some(level.max),
                });
                self.source = Some(source);
            }
            None if knows_memory(task) => {
                self.other = Some(Limit::Node);
                self.source = Some(LimitSource::Inferred);
            }
            None => {}
        }
    }

    /// Which level of the victim's path is the domain, counted from the leaf.
    pub(super) fn domain_level(&self, task: &Task<'_>) -> Option<usize> {
        let id = self.memcg?.id;
        task.path.iter().position(|at| at.level.id == id)
    }

    /// Whether a memory cgroup's limit was hit, whichever.
    pub(super) const fn is_cgroup(&self) -> bool {
        self.memcg.is_some() || self.left_out
    }

    fn left_out_level(&self, task: &Task<'_>) -> Option<usize> {
        task.path.left_out().filter(|_| self.left_out)
    }

    /// Where the limit sits, seen from that victim. Of levels that are left out it is known where
    /// they are, though not which of them it is.
    pub(super) fn limit(&self, task: &Task<'_>, identity: &Identity) -> Limit {
        let level = self.domain_level(task).or(self.left_out_level(task));
        match (level, self.other) {
            (Some(level), _) => identity.place(level),
            (None, Some(other)) => other,
            (None, None) => Limit::Unknown,
        }
    }

    /// Whether the event takes a whole group, or may for all that is known.
    pub(super) fn may_be_group(&self) -> bool {
        self.group.is_some() || !self.group_known
    }

    /// Whether the victim is in the cgroup whose whole group the event takes.
    pub(super) fn has_in_group(&self, task: &Task<'_>) -> bool {
        self.group
            .is_some_and(|group| task.path.iter().any(|at| at.level.id == group))
    }

    /// The same where no cgroup's usage tells: SysRq runs in a kernel thread, and only the context
    /// would tell it from one that needed memory.
    fn cause_without_usage(&self, task: &Task<'_>) -> Option<Cause> {
        let told = match self.source? {
            LimitSource::Kernel => true,
            LimitSource::OomLock | LimitSource::Inferred => is_kernel_thread(task) == Some(false),
        };
        told.then_some(Cause::Charge)
    }

    /// Why the OOM killer ran. A charge never leaves a cgroup above its limit; who lowers the
    /// limit finds it there, and does so from outside (mm/memcontrol.c `memory_max_write`).
    fn told_cause(&self, task: &Task<'_>) -> Option<Cause> {
        let Some(Domained {
            id,
            usage: Some(usage),
            max: Some(max),
        }) = self.memcg
        else {
            return self.cause_without_usage(task);
        };
        let inside = trigger_is_in(task, id)?;
        let slack = if inside { OVERSHOOT } else { 0 };
        Some(if usage.saturating_sub(max) > slack {
            Cause::LimitLowered
        } else {
            Cause::Charge
        })
    }
}

/// Whether the limit may be that of a level which is left out. An event holds every level from the
/// victim's up to the domain, so that it goes on where the topmost seen is next to those not seen; and
/// what is full first may be any of them.
fn may_be_left_out(task: &Task<'_>, at: usize, source: LimitSource) -> bool {
    task.path.left_out().is_some_and(|left_out| match source {
        LimitSource::OomLock => at + 1 == left_out,
        LimitSource::Kernel | LimitSource::Inferred => left_out < at,
    })
}

/// Whether the trigger is a kernel thread, as far as that is known.
pub(super) fn is_kernel_thread(task: &Task<'_>) -> Option<bool> {
    let body = &task.body;
    (body.valid & valid::TRIGGER_FLAGS != 0).then_some(body.trigger.flags & PF_KTHREAD != 0)
}

/// Whether the trigger is in that cgroup or below; `None` where that cannot be told.
pub(super) fn trigger_is_in(task: &Task<'_>, cgroup: u64) -> Option<bool> {
    let known = valid::MEMCG | valid::TRIGGER_MEMCG;
    if task.body.valid & known != known {
        return None;
    }
    let (path, truncated) = if task.body.memcg == task.body.trigger.memcg {
        (task.path, flag::TRUNCATED)
    } else {
        (task.trigger_path, flag::TRIGGER_TRUNCATED)
    };
    let whole = !path.is_empty() && task.body.flags & truncated == 0 && path.left_out().is_none();
    let found = path.iter().any(|at| at.level.id == cgroup);
    (found || whole).then_some(found)
}

/// Whether memory, or memory with swap, is used up to the limit.
fn is_full(at: &Level) -> bool {
    let memory = at.memory & level::MEMORY != 0 && at.usage >= at.max;
    let memsw = at.memory & level::MEMSW != 0 && at.memsw_usage >= at.memsw_max && at.memsw_max > 0;
    memory || memsw
}

/// Whether memory is used up to less than what one charge may have asked for: the charge that
/// failed is given back, and others return memory, before the victim is marked.
fn is_nearly_full(at: &Level) -> bool {
    let room = at.max.saturating_sub(at.usage);
    at.memory & level::MEMORY != 0 && room <= LARGEST_CHARGE.min(at.max / 16)
}

fn knows_memory(task: &Task<'_>) -> bool {
    task.path
        .iter()
        .any(|at| at.level.memory & level::MEMORY != 0)
}

/// The topmost cgroup from the victim's up to the domain that wants its group killed as one
/// (mm/memcontrol.c `mem_cgroup_get_oom_group`), and whether that can be told.
fn group(task: &Task<'_>, domain_level: Option<usize>) -> (Option<u64>, bool) {
    let below = domain_level.map_or(usize::MAX, |level| level + 1);
    let levels = || task.path.iter().take(below).map(|at| at.level);
    let known = levels().any(|at| at.memory & level::GROUP_KNOWN != 0);
    let group = levels()
        .enumerate()
        .filter(|(_, at)| at.memory & level::OOM_GROUP != 0)
        .last();
    // One of those that are left out may be higher than any below them.
    let higher = task
        .path
        .left_out()
        .is_some_and(|at| at < below && group.is_none_or(|(group, _)| group < at));
    (
        group.filter(|_| !higher).map(|(_, at)| at.id),
        known && !higher,
    )
}
