//! The domain types: a kill as the kernel tells it, and as it is after attribution.
//!
//! Serialised they are the kill records of `/api/v1/kills` and `--output json`, so the names of
//! fields are a contract. Absent is absent: no field stands for "not known" by a 0 or an "".

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    cgroup_path::CgroupPath,
    identity::Identity,
    labels::{Attribution, Cause, Constraint, Limit, LimitSource, Role, Scope, VictimKind},
};

/// The container of a pod's sandbox (pause) and of processes in the pod's own cgroup.
pub const SANDBOX: &str = "POD";

/// The only key of a kill: no two thread groups of one boot share both id and start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KillId {
    /// Thread group id in the initial PID namespace.
    pub tgid: u32,
    /// Start of the group leader, `CLOCK_BOOTTIME`, ns; 0 where it could not be read.
    pub start_time_ns: u64,
}

/// One process killed by the OOM killer, as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kill {
    /// `<boot id prefix>-<kernel time>-<tgid>-<start time>`.
    pub id: String,
    /// When the kernel marked it.
    pub time: Timestamp,
    /// Name of the node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Shared by the kills of one OOM event: `<boot id prefix>-<kernel time>-<trigger tid>`.
    pub event: String,
    /// How it came to be killed.
    pub role: Role,
    /// Which limit was hit.
    pub limit: Limit,
    /// What `limit` rests on; absent where that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_source: Option<LimitSource>,
    /// Why the OOM killer ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The kernel's own word for what was exhausted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// The process that was killed; absent where only a counter tells of the kill.
    #[serde(default, skip_serializing_if = "Victim::is_unknown")]
    pub victim: Victim,
    /// The task whose allocation ran into the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The victim's memory cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// The memory cgroup whose limit was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
    /// The kernel's badness score of the chosen victim, pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<i64>,
    /// The cgroup path is deeper than a record holds: names are missing in its middle, or next to the
    /// root if it is deeper still.
    pub truncated: bool,
    /// The cgroup was read from `/proc` after the kill, not in the kernel at the kill.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_proc: bool,
    /// `time` by `CLOCK_BOOTTIME`, ns.
    #[serde(skip, default)]
    pub boottime_ns: u64,
    /// The key of the kill.
    #[serde(skip, default = "KillId::none")]
    pub key: KillId,
    /// What the cgroup path says about container and pod.
    #[serde(skip, default)]
    pub identity: Identity,
    /// Ids of the cgroups from the victim's up to the root, for telling nodes on one kernel apart; 0
    /// for a level whose id is not known.
    #[serde(skip, default)]
    pub cgroup_ids: Vec<u64>,
    /// How many levels above the victim's cgroup the node's own root is, where that is not the
    /// root of the hierarchy: on a node that is itself a container.
    #[serde(skip, default)]
    pub node_root_level: Option<usize>,
}

impl Kill {
    /// Whose processes the victim was among, by its cgroup alone.
    #[must_use]
    pub fn scope(&self, node_root: Option<u64>) -> Scope {
        if self.cgroup.is_none() {
            return Scope::Unknown;
        }
        match node_root {
            Some(root) if !self.cgroup_ids.contains(&root) => {
                // The root may be among the levels that the record had no room for.
                if self.truncated || self.cgroup_ids.iter().all(|id| *id == 0) {
                    return Scope::Unknown;
                }
                return Scope::OtherNode;
            }
            _ => {}
        }
        if self.identity.undecided {
            Scope::Unknown
        } else if self.identity.pod.is_some() {
            Scope::Pod
        } else if self
            .cgroup
            .as_ref()
            .is_some_and(|cgroup| cgroup.path.is_none())
        {
            Scope::Unknown
        } else {
            Scope::Host
        }
    }
}

impl KillId {
    const fn none() -> Self {
        Self {
            tgid: 0,
            start_time_ns: 0,
        }
    }
}

/// The process that was killed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Victim {
    /// Thread group id in the initial PID namespace.
    pub pid: u32,
    /// Id of the thread that the kernel marked; not always the leader's.
    pub tid: u32,
    /// The process id in its own PID namespace: what the container itself calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// What it was in its container.
    pub kind: VictimKind,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// `task_struct.comm`, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Real user id in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Resident anonymous memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_rss_bytes: Option<u64>,
    /// Resident file pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_rss_bytes: Option<u64>,
    /// Resident shared memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_rss_bytes: Option<u64>,
    /// Swapped out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Page tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgtables_bytes: Option<u64>,
    /// Size of the address space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_vm_bytes: Option<u64>,
    /// Depth and inode of its PID namespace, for telling `init` from `child`.
    #[serde(skip, default)]
    pub pid_ns: Option<PidNamespace>,
    /// Id of the parent's memory cgroup.
    #[serde(skip, default)]
    pub parent_memcg: Option<u64>,
}

impl Victim {
    /// Whether nothing is known of it: no process that can be killed has pid 0.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.pid == 0
    }
}

/// A PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PidNamespace {
    /// 0 is the initial one.
    pub level: u32,
    /// Inode number.
    pub inum: u32,
}

/// The task whose allocation ran into the limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// Thread group id in the initial PID namespace.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// `task_struct.comm`, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Whether it is a kernel thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_thread: Option<bool>,
    /// Path of its memory cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupPath>,
    /// Whether it was in the victim's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_container: Option<bool>,
}

/// The victim's cgroup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Inode number of the directory; 0, and left out, where it was gone when the path was read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: u64,
    /// Absent where only ids could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<CgroupPath>,
    /// Version of the hierarchy that has the memory controller: 1 or 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u8>,
    /// Usage of the nearest cgroup, this one first, that has a limit, at the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// The limit of that cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(id: &u64) -> bool {
    *id == 0
}

/// The memory cgroup whose limit was hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<CgroupPath>,
    /// Its usage at the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// Its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Whether a cgroup between victim and domain asked for a group kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<bool>,
    /// The cgroup that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_path: Option<CgroupPath>,
}

/// A kill that is known to be somebody's: the kill record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Always `oom_kill`.
    #[serde(rename = "type")]
    pub kind: RecordType,
    /// Version of this schema.
    pub schema: u32,
    /// What the kernel told.
    #[serde(flatten)]
    pub kill: Kill,
    /// Whose it is.
    pub scope: Scope,
    /// The pod and container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    /// The process outside Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostRef>,
    /// How it was attributed.
    pub attribution: Attribution,
}

/// Tells records apart in a stream of JSON lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordType {
    /// One killed process.
    #[serde(rename = "oom_kill")]
    OomKill,
}

/// Version of the record schema.
pub const SCHEMA: u32 = 1;

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// Namespace; absent where only the cgroup path is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `metadata.uid`, or for a static pod without its mirror the config hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Name of the container; `POD` for the sandbox and for processes in the pod's own cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Image as the pod names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `Guaranteed`, `Burstable` or `BestEffort`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// What the pod belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
}

/// What a pod belongs to: a Deployment, a StatefulSet, a CronJob …
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// Kind as the API writes it.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// A process outside Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRef {
    /// The systemd unit: `nginx.service`, `session-3.scope`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The id of a container that Kubernetes does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
}
