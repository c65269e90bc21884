//! From the numbers of a record to the kill that people read.

use bytemuck::Zeroable;
use jiff::Timestamp;
use oom_probe_common::record::{Body, COMM_LEN, Header, flag, hook, level, valid};

use super::domain::{Found, is_kernel_thread, trigger_is_in};
use crate::{
    cgroup::{node::NodeCgroups, path},
    model::{
        cgroup_path::CgroupPath,
        identity::Identity,
        kill::{Cgroup, Domain, Kill, KillId, PidNamespace, Trigger, Victim},
        labels::{Limit, Role, VictimKind},
    },
    record::{Levels, Task},
    sys::escape::escape,
};

/// No process is larger: more bytes than any address space has.
const LARGEST: u64 = 1 << 60;

/// Characters of the boot id that go into the ids of kills: enough to tell a node's boots apart.
const BOOT_PREFIX: usize = 8;

/// What is the same for every kill of this machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name of the node; empty where it has none.
    pub node: String,
    /// The first characters of `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// Bytes of a page.
    pub page_size: u64,
    /// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`.
    pub clock_ns: i128,
    /// What of its cgroups is the node's.
    pub cgroups: NodeCgroups,
}

impl Machine {
    /// This machine, in the boot with that id (`/proc/sys/kernel/random/boot_id`).
    #[must_use]
    pub fn new(node: String, boot_id: &str, cgroups: NodeCgroups) -> Self {
        Self {
            node,
            boot: boot_id.chars().take(BOOT_PREFIX).collect(),
            page_size: rustix::param::page_size() as u64,
            clock_ns: 0,
            cgroups,
        }
    }
}

/// A task of which no more than a thread id is known. `tgid` is the thread's own where its process
/// is not known either: right unless the group's leader has exited.
pub(super) fn unknown_task(tgid: u32, tid: u32) -> Task<'static> {
    let mut body = Body::zeroed();
    (body.victim.tgid, body.victim.tid) = (tgid, tid);
    body.valid = valid::IDS;
    Task {
        body,
        path: Levels::EMPTY,
        trigger_path: Levels::EMPTY,
        unit_path: Levels::EMPTY,
    }
}

impl Machine {
    /// The id of the event that a record opens.
    pub(super) fn event_id(&self, header: Header) -> String {
        let (boot, time, tid) = (&self.boot, header.time_ns, header.current_tid);
        format!("{boot}-{time}-{tid}")
    }

    /// The kill that a record tells.
    pub(super) fn kill(
        &self,
        header: Header,
        task: &Task<'_>,
        role: Role,
        event: String,
        found: &Found,
    ) -> Kill {
        let body = &task.body;
        let path = path(task.path, body.flags, flag::TRUNCATED);
        let cgroup_ids: Vec<_> = task.path.iter().map(|at| at.level.id).collect();
        let node_root_level = self.cgroups.root_level(&cgroup_ids);
        let identity = path.map_or_else(Identity::default, |path| {
            let unit = path::parse(task.unit_path.iter().map(|at| at.name));
            // Where the node's own root is in that hierarchy is not known.
            let is_told = unit.container.is_none() && self.cgroups.root.is_none();
            let unit = unit.unit.filter(|_| is_told);
            let identity = self.cgroups.identify(&path, node_root_level);
            identity.or_unit(unit)
        });
        let key = KillId {
            tgid: body.victim.tgid,
            start_time_ns: body.victim.start_time_ns,
        };
        let limit = match found.limit(task, &identity) {
            // Without names nobody can say what a level is.
            _ if body.flags & flag::NAMELESS != 0 && found.is_cgroup() => Limit::Unknown,
            limit => limit,
        };
        Kill {
            id: format!(
                "{}-{}-{}-{}",
                self.boot, header.time_ns, key.tgid, key.start_time_ns
            ),
            time: self.wall_clock(header.time_ns),
            boottime_ns: header.time_ns,
            node: self.node.clone(),
            event,
            role,
            limit,
            limit_source: found.source.filter(|_| limit != Limit::Unknown),
            cause: found.cause,
            constraint: found.constraint,
            victim: self.victim(body, kind(task, &identity)),
            trigger: Some(trigger(header, task, &identity)),
            cgroup: self.cgroup(task),
            domain: self.domain(task, found),
            points: found.points,
            truncated: body.flags & flag::TRUNCATED != 0 || task.path.left_out().is_some(),
            // The plain tracepoint tells a thread id and no more.
            from_proc: header.hook == hook::TRACEPOINT,
            key,
            identity,
            node_root_level,
            cgroup_ids,
        }
    }

    /// The wall clock's time of a boot time.
    fn wall_clock(&self, boottime_ns: u64) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(boottime_ns) + self.clock_ns)
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Bytes of a number of pages; per-CPU counters may be a little below 0. Whatever a record
    /// says, some of them can be added.
    fn bytes(&self, pages: i64) -> u64 {
        let bytes = u64::try_from(pages)
            .unwrap_or(0)
            .saturating_mul(self.page_size);
        bytes.min(LARGEST)
    }

    fn victim(&self, body: &Body, kind: VictimKind) -> Victim {
        let victim = &body.victim;
        let has = |bit| body.valid & bit != 0;
        let rss = |n: usize| has(valid::RSS).then(|| self.bytes(victim.rss[n]));
        Victim {
            pid: victim.tgid,
            tid: victim.tid,
            ns_pid: has(valid::PID_NS).then_some(victim.ns_pid),
            kind,
            start_time: has(valid::START_TIME).then(|| self.wall_clock(victim.start_time_ns)),
            comm: has(valid::COMM).then(|| comm(&victim.comm)),
            uid: has(valid::UID).then_some(victim.uid),
            oom_score_adj: has(valid::OOM_SCORE_ADJ).then_some(victim.oom_score_adj),
            file_rss_bytes: rss(0),
            anon_rss_bytes: rss(1),
            swap_bytes: rss(2),
            shmem_rss_bytes: rss(3),
            pgtables_bytes: has(valid::PGTABLES).then_some(victim.pgtables_bytes),
            total_vm_bytes: has(valid::TOTAL_VM)
                .then(|| victim.total_vm.saturating_mul(self.page_size)),
            pid_ns: has(valid::PID_NS).then_some(PidNamespace {
                level: victim.pid_ns_level,
                inum: victim.pid_ns_inum,
            }),
            parent_memcg: has(valid::PARENT_MEMCG).then_some(victim.parent_memcg),
        }
    }

    fn cgroup(&self, task: &Task<'_>) -> Option<Cgroup> {
        let body = &task.body;
        let leaf = task.path.iter().next()?;
        let limited = task
            .path
            .iter()
            .map(|at| at.level)
            // One of those that are left out may be nearer than any that follow.
            .take_while(|at| at.skipped == 0)
            .find(|at| at.memory & level::MEMORY != 0 && at.max < self.unlimited());
        Some(Cgroup {
            id: leaf.level.id,
            path: path(task.path, body.flags, flag::TRUNCATED),
            version: (body.valid & valid::HIERARCHY != 0)
                .then_some(if body.flags & flag::V2 != 0 { 2 } else { 1 }),
            usage_bytes: limited.map(|at| at.usage.saturating_mul(self.page_size)),
            limit_bytes: limited.map(|at| at.max.saturating_mul(self.page_size)),
        })
    }

    fn domain(&self, task: &Task<'_>, found: &Found) -> Option<Domain> {
        let memcg = found.memcg?;
        let from = |id: u64| {
            let at = task.path.iter().position(|at| at.level.id == id)?;
            path_from(task.path, at, task.body.flags, flag::TRUNCATED)
        };
        Some(Domain {
            path: from(memcg.id),
            usage_bytes: memcg
                .usage
                .map(|pages| pages.saturating_mul(self.page_size)),
            limit_bytes: memcg
                .max
                .filter(|max| *max < self.unlimited())
                .map(|pages| pages.saturating_mul(self.page_size)),
            group: found.group_known.then_some(found.group.is_some()),
            group_path: found.group.and_then(from),
        })
    }

    /// `PAGE_COUNTER_MAX` of include/linux/page_counter.h, pages.
    fn unlimited(&self) -> u64 {
        i64::MAX as u64 / self.page_size
    }
}

/// Init or child, as far as the kernel tells; what the pod says may settle the rest.
fn kind(task: &Task<'_>, identity: &Identity) -> VictimKind {
    let body = &task.body;
    let container = identity.container_level.unwrap_or(0);
    let mut inside = task.path.iter().take(container + 1).map(|at| at.level);
    let parent_inside = (body.valid & valid::PARENT_MEMCG != 0)
        .then(|| inside.clone().any(|at| at.id == body.victim.parent_memcg))
        .filter(|found| *found || inside.all(|at| at.skipped == 0));
    let ns = (body.valid & valid::PID_NS != 0 && body.victim.pid_ns_level > 0)
        .then_some(body.victim.ns_pid);
    match (ns, parent_inside) {
        // The first process of a sandbox inside the container is not the container's.
        (_, Some(true)) => VictimKind::Child,
        (Some(1), _) => VictimKind::Init,
        _ => VictimKind::Unknown,
    }
}

fn trigger(header: Header, task: &Task<'_>, identity: &Identity) -> Trigger {
    let body = &task.body;
    let has = |bit| body.valid & bit != 0;
    let known = has(valid::MEMCG) && has(valid::TRIGGER_MEMCG);
    let same_cgroup = known && body.memcg == body.trigger.memcg;
    let (trigger_path, truncated) = if same_cgroup {
        (task.path, flag::TRUNCATED)
    } else {
        (task.trigger_path, flag::TRIGGER_TRUNCATED)
    };
    let own = identity.container_level.unwrap_or(0);
    let container = task.path.iter().nth(own).map(|at| at.level.id);
    Trigger {
        pid: header.current_tgid,
        tid: header.current_tid,
        comm: has(valid::TRIGGER_COMM).then(|| comm(&body.trigger.comm)),
        kernel_thread: is_kernel_thread(task),
        cgroup: known
            .then(|| path(trigger_path, body.flags, truncated))
            .flatten(),
        same_container: if same_cgroup {
            Some(true)
        } else {
            container.and_then(|container| trigger_is_in(task, container))
        },
    }
}

fn path(levels: Levels<'_>, flags: u32, truncated: u32) -> Option<CgroupPath> {
    path_from(levels, 0, flags, truncated)
}

/// The path without the lowest levels. `truncated` is the flag that says of these levels that those
/// next to the root are missing.
fn path_from(levels: Levels<'_>, at: usize, flags: u32, truncated: u32) -> Option<CgroupPath> {
    if flags & flag::NAMELESS != 0 || levels.is_empty() {
        return None;
    }
    let names = levels.iter().skip(at).map(|at| at.name);
    let begins_at_root = flags & truncated == 0;
    Some(if begins_at_root {
        CgroupPath::from_levels(names)
    } else {
        CgroupPath::from_levels_below_unknown(names)
    })
}

/// A task's name up to the NUL, escaped.
fn comm(bytes: &[u8; COMM_LEN]) -> String {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(COMM_LEN);
    escape(&bytes[..len])
}
