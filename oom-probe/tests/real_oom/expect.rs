//! What a kill record has to say, field by field.

use std::fs;

use hog::cgroup::Cgroup;
use oom_probe::model::{
    cgroup_path::{CgroupPath, names},
    kill::{Kill, Record},
    labels::{Cause, Constraint, Limit, LimitSource, Role, VictimKind},
};

use crate::case::Case;
use crate::world::World;

/// The most that usage may differ from a limit that was just hit. A CPU charges 64 pages ahead
/// (mm/memcontrol.c `MEMCG_CHARGE_BATCH`) and keeps one of small objects; reclaim makes each give them
/// back, which can end after the kernel has decided to kill. A hog and its parent are on two, moved once.
const CHARGED_AHEAD: u64 = 4 * 65 * 4096;
/// A size of a few pages may be further off than a tenth where a thread or a CPU has counted it apart:
/// 64 pages (mm/memory.c `TASK_RSS_EVENTS_THRESH`, until 6.2), or 32 for each CPU
/// (lib/percpu_counter.c), which newer kernels (7.2) add up for the log (`get_mm_counter_sum`).
const COUNTED_APART: u64 = 64 * 4096;

/// A cgroup as it was, for after it is gone.
#[derive(Clone, Debug)]
pub(crate) struct CgroupBefore {
    pub(crate) path: CgroupPath,
    pub(crate) id: u64,
    pub(crate) limit: Option<u64>,
}

impl CgroupBefore {
    pub(crate) fn of(cgroup: &Cgroup) -> Self {
        Self {
            path: CgroupPath::from_levels(names(cgroup.path().as_os_str().as_encoded_bytes())),
            id: cgroup.id().unwrap(),
            limit: cgroup.limit().unwrap(),
        }
    }
}

/// Whose allocation it was.
#[derive(Clone, Debug)]
pub(crate) enum Trigger {
    /// The victim's own.
    Itself,
    /// That process's, in that cgroup.
    Other {
        pid: u32,
        path: CgroupPath,
        same_container: bool,
    },
    /// Not to be told beforehand.
    Any,
}

/// One kill as it has to be told.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) pid: Option<u32>,
    pub(crate) comm: &'static str,
    pub(crate) uid: u32,
    pub(crate) role: Role,
    pub(crate) kind: Option<VictimKind>,
    pub(crate) limit: Limit,
    pub(crate) cause: Cause,
    pub(crate) cgroup: CgroupBefore,
    /// The nearest cgroup that has a limit; absent where none has.
    pub(crate) limited: Option<CgroupBefore>,
    /// The cgroup whose limit was hit.
    pub(crate) domain: Option<CgroupBefore>,
    /// Whether usage is at that limit: not for the later victims of a group.
    pub(crate) full: bool,
    pub(crate) trigger: Trigger,
}

impl Expected {
    /// A hog that grew into the limit of its own cgroup.
    pub(crate) fn own_limit(pid: u32, cgroup: &CgroupBefore) -> Self {
        Self {
            pid: Some(pid),
            comm: "hog",
            uid: 0,
            role: Role::Primary,
            kind: None,
            limit: Limit::Container,
            cause: Cause::Charge,
            cgroup: cgroup.clone(),
            limited: Some(cgroup.clone()),
            domain: Some(cgroup.clone()),
            full: true,
            trigger: Trigger::Itself,
        }
    }

    /// Holds a record against this and against the kernel's log.
    pub(crate) fn check(&self, case: &mut Case<'_>, record: &Record) {
        let told = serde_json::to_string(record).unwrap();
        let kill = &record.kill;
        self.check_victim(kill, &told);
        check_sizes(case, kill, &told);
        self.check_cgroup(case.world, kill, &told);
        self.check_domain(case.world, kill, &told);
        self.check_trigger(case.world, kill, &told);
    }

    fn check_victim(&self, kill: &Kill, told: &str) {
        let victim = &kill.victim;
        if let Some(pid) = self.pid {
            assert_eq!(victim.pid, pid, "tgid: {told}");
        }
        assert_eq!(victim.comm.as_deref(), Some(self.comm), "comm: {told}");
        assert_eq!(victim.uid, Some(self.uid), "uid: {told}");
        assert_eq!(kill.role, self.role, "role: {told}");
        assert_eq!(kill.cause, Some(self.cause), "cause: {told}");
        assert!(!kill.truncated && !kill.from_proc, "{told}");
        if let Some(kind) = self.kind {
            assert_eq!(victim.kind, kind, "kind: {told}");
        }
    }

    fn check_cgroup(&self, world: &World, kill: &Kill, told: &str) {
        let cgroup = kill.cgroup.as_ref();
        let cgroup = cgroup.unwrap_or_else(|| panic!("no cgroup: {told}"));
        assert_eq!(cgroup.id, self.cgroup.id, "cgroup id: {told}");
        if world.is_named(kill) {
            let path = cgroup.path.as_ref();
            assert_eq!(path, Some(&self.cgroup.path), "cgroup path: {told}");
        }
        assert_eq!(
            cgroup.version,
            Some(if world.is_v2() { 2 } else { 1 }),
            "{told}"
        );
        if !world.reads_usage() {
            return;
        }
        let limit = self.limited.as_ref().and_then(|place| place.limit);
        assert_eq!(cgroup.limit_bytes, limit, "limit: {told}");
        if let (Some(limit), true) = (limit, self.full) {
            let usage = cgroup.usage_bytes.unwrap_or(0);
            assert!(
                usage.abs_diff(limit) <= CHARGED_AHEAD,
                "usage of {limit}: {told}"
            );
        }
    }

    fn check_domain(&self, world: &World, kill: &Kill, told: &str) {
        let source = if world.has_context() {
            LimitSource::Kernel
        } else if world.has_oom_lock() {
            LimitSource::OomLock
        } else {
            LimitSource::Inferred
        };
        // Without names nobody can say what the cgroup is that ran out: nothing is made up.
        let (limit, source) = if world.is_named(kill) || self.domain.is_none() {
            (self.limit, Some(source))
        } else {
            (Limit::Unknown, None)
        };
        assert_eq!(kill.limit, limit, "limit: {told}");
        assert_eq!(kill.limit_source, source, "limit_source: {told}");
        if world.has_context() {
            let constraint = match self.limit {
                Limit::Node => Constraint::None,
                Limit::Cpuset => Constraint::Cpuset,
                _ => Constraint::Memcg,
            };
            assert_eq!(kill.constraint, Some(constraint), "constraint: {told}");
        }
        let domain = kill.domain.as_ref();
        if world.is_named(kill) {
            let path = domain.and_then(|domain| domain.path.as_ref());
            let expected = self.domain.as_ref().map(|place| &place.path);
            assert_eq!(path, expected, "domain: {told}");
        }
        if let Some(place) = &self.domain {
            let domain = domain.unwrap_or_else(|| panic!("no domain: {told}"));
            assert_eq!(
                domain.limit_bytes, place.limit,
                "limit of the domain: {told}"
            );
            assert!(domain.usage_bytes.is_some(), "usage of the domain: {told}");
        }
    }

    fn check_trigger(&self, world: &World, kill: &Kill, told: &str) {
        let trigger = kill.trigger.as_ref();
        let trigger = trigger.unwrap_or_else(|| panic!("no trigger: {told}"));
        let (pid, path, same_container) = match &self.trigger {
            Trigger::Any => return,
            Trigger::Itself => (kill.victim.pid, &self.cgroup.path, true),
            Trigger::Other {
                pid,
                path,
                same_container,
            } => (*pid, path, *same_container),
        };
        assert_eq!(trigger.pid, pid, "trigger: {told}");
        assert_eq!(trigger.kernel_thread, Some(false), "{told}");
        assert_eq!(
            trigger.same_container,
            Some(same_container),
            "same_container: {told}"
        );
        if world.is_named(kill) {
            let told_path = trigger.cgroup.as_ref();
            assert_eq!(told_path, Some(path), "trigger's cgroup: {told}");
        }
    }
}

/// Sizes agree with the kernel's log line of that victim, whose thread has to be the one marked.
/// Processes killed for sharing the victim's memory have no line.
fn check_sizes(case: &mut Case<'_>, kill: &Kill, told: &str) {
    let victim = &kill.victim;
    let Some(line) = case.log.killed(victim.tid) else {
        assert!(
            kill.role == Role::SharedMm,
            "no line in the kernel's log: {told}"
        );
        return;
    };
    let sizes = [
        (victim.anon_rss_bytes, line.anon),
        (victim.file_rss_bytes, line.file),
        (victim.shmem_rss_bytes, line.shmem),
    ];
    let itself = kill.trigger.as_ref().map(|trigger| trigger.pid) == Some(victim.pid);
    // A victim that is not the trigger itself runs on until it sees the signal, and maps more of its
    // program between its mark and its log line (mm/memory.c `do_fault_around`), at most all of it.
    let program = || fs::metadata(&case.world.programs().hog).unwrap().len();
    let meanwhile = if itself { 0 } else { program() };
    let mut total = (0, 0);
    for (size, logged) in sizes {
        let size = size.unwrap_or_else(|| panic!("no size: {told}"));
        let slack = (logged / 10).max(COUNTED_APART).max(meanwhile);
        assert!(
            size.abs_diff(logged) <= slack,
            "{size} where the log has {logged}: {told}"
        );
        total = (total.0 + size, total.1 + logged);
    }
    let (rss, logged) = total;
    let apart = sizes.len() as u64 * COUNTED_APART;
    assert!(
        rss.abs_diff(logged) <= (logged / 10).max(apart).max(meanwhile),
        "RSS {rss} where the log has {logged}: {told}"
    );
    assert_eq!(line.uid, victim.uid, "uid in the log: {told}");
}
