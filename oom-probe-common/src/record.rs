//! The records that the kernel programs put into the ring.
//!
//! A record is a [`Header`] and what its [`kind`] says: a [`Body`], a [`Target`], a [`Domain`] or
//! nothing. A body may be followed by the levels of three cgroup paths, the victim's, the trigger's
//! and that of the victim's unit: [`Level`]s, leaf first, each followed by its name (no NUL, padded with zeros to a
//! multiple of 8).
//!
//! A cgroup may be nested as deep as whoever owns it likes, and its names may be long. So of a deep
//! path the levels next to the leaf are there and those next to the root, which say whose it is; a
//! level without a name stands between them for what is left out ([`Level::skipped`]).
//!
//! What could not be read has its bit in `valid` unset, and then its value means nothing: absent
//! is never 0.

/// Bytes of `task_struct.comm`, NUL included.
pub const COMM_LEN: usize = 16;
/// The longest name of a cgroup directory: `NAME_MAX`.
pub const NAME_MAX: usize = 255;
/// Levels next to the root that are there of every path, the root's own included: one more than name a
/// container on a node that is itself in a container of a pod, and four to spare.
pub const ROOT_LEVELS: usize = 16;
/// Levels next to the leaf that are there of a path with more than [`ROOT_LEVELS`].
pub const LEAF_LEVELS: usize = 8;
/// Bytes of names and levels after which no more of those next to the leaf is begun.
pub const LEAF_BYTES: usize = 768;
/// Levels of one cgroup path in a record, with the one that stands for what is left out.
pub const MAX_LEVELS: usize = LEAF_LEVELS + 1 + ROOT_LEVELS;
/// Bytes for the levels of all paths together: enough for any one path.
pub const LEVELS_BYTES: usize = 6144;
/// The largest record.
pub const MAX_LEN: usize = size_of::<Header>() + size_of::<Body>() + LEVELS_BYTES;

/// `Header::kind`.
pub mod kind {
    /// `oom:mark_victim` fired: a [`Body`](super::Body).
    pub const MARK: u8 = 1;
    /// `oom:mark_victim` fired and tells no more than a thread id: a [`Target`](super::Target)
    /// with just that.
    pub const MARK_TID: u8 = 2;
    /// The kernel itself sends SIGKILL to a task: a [`Target`](super::Target).
    pub const SIGNAL: u8 = 3;
    /// The same with all there is to know of the task, since no mark will tell it: a
    /// [`Body`](super::Body).
    pub const SIGNAL_WHOLE: u8 = 4;
    /// `oom_kill_process` is entered: a [`Domain`](super::Domain).
    pub const BEGIN: u8 = 5;
    /// `oom_kill_process` returns: the header alone.
    pub const END: u8 = 6;
}

/// `Header::hook`: which entry point wrote the record.
pub mod hook {
    /// `raw_tp`, reads by `bpf_probe_read_kernel`.
    pub const RAW_TP: u8 = 1;
    /// `tp_btf`, direct loads.
    pub const TP_BTF: u8 = 2;
    /// The plain tracepoint: only its fields.
    pub const TRACEPOINT: u8 = 3;
    /// `fentry` or `fexit`.
    pub const FENTRY: u8 = 4;
    /// `kprobe` or `kretprobe`.
    pub const KPROBE: u8 = 5;
}

/// Begins every record.
///
/// Its layout and the meaning of [`kind::MARK`] and [`kind::MARK_TID`] are the same in every
/// [`version`](crate::ABI_VERSION): what programs of another release have recorded is counted by
/// them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Header {
    /// [`crate::ABI_VERSION`] of the program.
    pub version: u16,
    /// One of [`kind`].
    pub kind: u8,
    /// One of [`hook`].
    pub hook: u8,
    /// Bytes of the whole record.
    pub len: u32,
    /// `CLOCK_BOOTTIME`, ns.
    pub time_ns: u64,
    /// Thread group of the current task: the trigger.
    pub current_tgid: u32,
    /// Thread id of the current task.
    pub current_tid: u32,
}

/// Bits of `Body::valid` and `Target::valid`, one for each field or group of fields.
pub mod valid {
    /// `Victim::tid` and `tgid`.
    pub const IDS: u64 = 1 << 0;
    /// `Victim::start_time_ns`.
    pub const START_TIME: u64 = 1 << 1;
    /// `Victim::comm`.
    pub const COMM: u64 = 1 << 2;
    /// `Victim::uid`.
    pub const UID: u64 = 1 << 3;
    /// `Victim::oom_score_adj`.
    pub const OOM_SCORE_ADJ: u64 = 1 << 4;
    /// `Victim::mm`.
    pub const MM: u64 = 1 << 5;
    /// `Victim::total_vm`.
    pub const TOTAL_VM: u64 = 1 << 6;
    /// `Victim::rss`.
    pub const RSS: u64 = 1 << 7;
    /// `Victim::pgtables_bytes`.
    pub const PGTABLES: u64 = 1 << 8;
    /// `Victim::pid_ns_level`, `pid_ns_inum` and `ns_pid`.
    pub const PID_NS: u64 = 1 << 9;
    /// `Victim::parent_tgid`.
    pub const PARENT: u64 = 1 << 10;
    /// `Victim::parent_memcg`.
    pub const PARENT_MEMCG: u64 = 1 << 11;
    /// `Body::memcg`.
    pub const MEMCG: u64 = 1 << 12;
    /// `Body::dfl_cgroup`.
    pub const DFL_CGROUP: u64 = 1 << 13;
    /// `Trigger::comm`.
    pub const TRIGGER_COMM: u64 = 1 << 14;
    /// `Trigger::flags`.
    pub const TRIGGER_FLAGS: u64 = 1 << 15;
    /// `Trigger::memcg`.
    pub const TRIGGER_MEMCG: u64 = 1 << 16;
    /// [`flag::V2`](super::flag::V2) means something.
    pub const HIERARCHY: u64 = 1 << 17;
    /// Every field that a whole record has.
    pub const ALL: u64 = (1 << 18) - 1;
    /// No field: the current task was exiting itself when it had a thread marked. Only where it
    /// could be read ([`kind::MARK_TID`](super::kind::MARK_TID)).
    pub const TRIGGER_EXITING: u64 = 1 << 18;
}

/// Bits of `Body::flags`.
pub mod flag {
    /// The path is that of the unified hierarchy, memory controller included.
    pub const V2: u32 = 1 << 0;
    /// Levels are missing at the root's end of the victim's path: it is deeper than is walked.
    pub const TRUNCATED: u32 = 1 << 1;
    /// Levels are missing at the root's end of the trigger's path: it is deeper than is walked, or the
    /// victim's took the room.
    pub const TRIGGER_TRUNCATED: u32 = 1 << 2;
    /// The names of the levels could not be read; their ids could.
    pub const NAMELESS: u32 = 1 << 3;
}

/// Follows the header of a signal record: just enough to know the task again.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Target {
    /// Bits of [`valid`]: `IDS`, `START_TIME`, `MM`.
    pub valid: u64,
    /// See [`Victim::tgid`].
    pub tgid: u32,
    /// See [`Victim::tid`].
    pub tid: u32,
    /// See [`Victim::start_time_ns`].
    pub start_time_ns: u64,
    /// See [`Victim::mm`].
    pub mm: u64,
}

/// The task that is marked or signalled.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Victim {
    /// Thread group id in the initial PID namespace.
    pub tgid: u32,
    /// Thread id: of a thread that still has the mm, not always the leader's.
    pub tid: u32,
    /// Start of the group leader, `CLOCK_BOOTTIME`, ns.
    pub start_time_ns: u64,
    /// Address of the `mm_struct`: only ever compared, never shown.
    pub mm: u64,
    /// Size of the address space, pages.
    pub total_vm: u64,
    /// Resident pages: file, anonymous, swap entries, shmem (the order of `enum` `MM_FILEPAGES`…
    /// in `include/linux/mm_types_task.h`). Per-CPU deltas may make one slightly negative.
    pub rss: [i64; 4],
    /// Bytes of page tables.
    pub pgtables_bytes: u64,
    /// Id of the parent's memory cgroup.
    pub parent_memcg: u64,
    /// Thread group id of the parent.
    pub parent_tgid: u32,
    /// Real user id in the initial user namespace.
    pub uid: u32,
    /// Depth of the victim's own PID namespace; 0 is the initial one.
    pub pid_ns_level: u32,
    /// Inode number of that namespace.
    pub pid_ns_inum: u32,
    /// Thread group id in that namespace.
    pub ns_pid: u32,
    /// `signal_struct.oom_score_adj`.
    pub oom_score_adj: i32,
    /// Name of the thread group's marked thread, NUL-terminated.
    pub comm: [u8; COMM_LEN],
}

/// The current task: the one whose allocation ran into the limit.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Trigger {
    /// Id of its memory cgroup.
    pub memcg: u64,
    /// `task_struct.flags`: `PF_KTHREAD` is 0x0020_0000.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// Its name, NUL-terminated.
    pub comm: [u8; COMM_LEN],
}

/// Follows the header of a mark record.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Body {
    /// Bits of [`valid`].
    pub valid: u64,
    /// The task that dies.
    pub victim: Victim,
    /// The current task.
    pub trigger: Trigger,
    /// Id of the victim's memory cgroup.
    pub memcg: u64,
    /// Id of the victim's cgroup in the unified hierarchy.
    pub dfl_cgroup: u64,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Levels of the victim's path that follow.
    pub levels: u16,
    /// Levels of the trigger's path that follow those; 0 when it is in the victim's memory cgroup.
    pub trigger_levels: u16,
    /// Levels of the path of the victim's unit that follow those: in systemd's own hierarchy, where on
    /// cgroup v1 that is another than the memory controller's. Only ids and names are read of them.
    pub unit_levels: u16,
    /// Zero.
    pub reserved: [u16; 3],
}

/// `Level::memory`: which parts of a level are meant.
pub mod level {
    /// `usage` and `max`.
    pub const MEMORY: u16 = 1 << 0;
    /// `memsw_usage` and `memsw_max`.
    pub const MEMSW: u16 = 1 << 1;
    /// [`OOM_GROUP`] means something.
    pub const GROUP_KNOWN: u16 = 1 << 2;
    /// `memory.oom.group` is set here.
    pub const OOM_GROUP: u16 = 1 << 3;
    /// [`OOM_LOCK`] means something.
    pub const LOCK_KNOWN: u16 = 1 << 4;
    /// `mem_cgroup.oom_lock` is set: this level is in the subtree of an OOM event under way.
    pub const OOM_LOCK: u16 = 1 << 5;
}

/// One directory of a cgroup path.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Level {
    /// `kernfs_node.id`.
    pub id: u64,
    /// `page_counter.usage`, pages.
    pub usage: u64,
    /// `page_counter.max`, pages; `PAGE_COUNTER_MAX` means unlimited.
    pub max: u64,
    /// The same for memory and swap (v1) or swap (v2), pages.
    pub memsw_usage: u64,
    /// See `memsw_usage`.
    pub memsw_max: u64,
    /// Bits of [`level`].
    pub memory: u16,
    /// Bytes of the name that follows, before padding; 0 for the root.
    pub name_len: u16,
    /// Not 0: this is no directory but stands for so many that are left out, and nothing else of it
    /// means anything.
    pub skipped: u32,
}

/// `Domain::valid`.
pub mod domain {
    /// The OOM is of a memory cgroup, and `memcg`, `usage` and `max` are known.
    pub const MEMCG: u64 = 1 << 0;
    /// It is known that no memory cgroup's limit was hit.
    pub const GLOBAL: u64 = 1 << 1;
    /// `constraint`.
    pub const CONSTRAINT: u64 = 1 << 2;
    /// `order`.
    pub const ORDER: u64 = 1 << 3;
    /// `totalpages`.
    pub const TOTALPAGES: u64 = 1 << 4;
    /// `points`.
    pub const POINTS: u64 = 1 << 5;
}

/// Follows the header of a begin record: the `oom_control` of an OOM event.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Domain {
    /// Bits of [`domain`].
    pub valid: u64,
    /// Id of the memory cgroup whose limit was hit.
    pub memcg: u64,
    /// Its usage, pages.
    pub usage: u64,
    /// Its limit, pages.
    pub max: u64,
    /// Pages that the domain could use.
    pub totalpages: u64,
    /// Badness of the chosen victim, pages.
    pub points: i64,
    /// `enum oom_constraint`: 0 none, 1 cpuset, 2 memory policy, 3 memcg.
    pub constraint: u32,
    /// Order of the allocation; -1 is sysrq-f.
    pub order: i32,
}

const _: () = {
    let longest = size_of::<Level>() + NAME_MAX + 1;
    let leaf = LEAF_BYTES + longest + size_of::<Level>();
    // Another level is begun where the longest still fits.
    assert!(leaf + ROOT_LEVELS * longest <= LEVELS_BYTES);
};
const _: () = assert!(size_of::<Header>() == 24);
const _: () = assert!(size_of::<Target>() == 32);
const _: () = assert!(size_of::<Victim>() == 120);
const _: () = assert!(size_of::<Trigger>() == 32);
const _: () = assert!(size_of::<Body>() == 192);
const _: () = assert!(size_of::<Level>() == 48);
const _: () = assert!(size_of::<Domain>() == 56);
