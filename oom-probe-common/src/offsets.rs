//! Byte offsets of kernel structure members, resolved from BTF when the daemon starts.

/// An offset that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Byte offsets into the running kernel's structures; [`ABSENT`] where there is none.
        ///
        /// Each field is named `<struct>_<member>`. The kernel side reads single fields of it
        /// from `.rodata`, so that the verifier sees constants and prunes what is absent.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
        pub struct Offsets {
            $($(#[$doc])* pub $name: u32,)+
        }

        impl Offsets {
            /// Every field absent.
            pub const ABSENT: Self = Self { $($name: ABSENT,)+ };

            /// The names of the fields, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];

            /// Name and value of every field, in order.
            #[cfg(feature = "user")]
            pub fn fields(&self) -> [(&'static str, u32); Self::NAMES.len()] {
                [$((stringify!($name), self.$name),)+]
            }

            /// The field of that name.
            #[cfg(feature = "user")]
            pub fn field_mut(&mut self, name: &str) -> Option<&mut u32> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }
        }
    };
}

offsets! {
    /// `task_struct.pid`: the thread id.
    task_pid,
    /// `task_struct.tgid`.
    task_tgid,
    /// `task_struct.flags`.
    task_flags,
    /// `task_struct.comm`.
    task_comm,
    /// `task_struct.mm`.
    task_mm,
    /// `task_struct.signal`.
    task_signal,
    /// `task_struct.group_leader`.
    task_group_leader,
    /// `task_struct.real_parent`.
    task_real_parent,
    /// `task_struct.start_boottime`, ns.
    task_start_boottime,
    /// `task_struct.real_cred`.
    task_real_cred,
    /// `task_struct.cgroups`, a `css_set`.
    task_cgroups,
    /// `cred.uid`.
    cred_uid,
    /// `signal_struct.oom_score_adj`, an `i16`.
    signal_oom_score_adj,
    /// `signal_struct.pids[PIDTYPE_TGID]`, the `pid` of the thread group.
    signal_pid_tgid,
    /// `pid.level`.
    pid_level,
    /// `pid.numbers`, an array of `upid`.
    pid_numbers,
    /// `sizeof(upid)`.
    upid_size,
    /// `upid.nr`.
    upid_nr,
    /// `upid.ns`.
    upid_ns,
    /// `pid_namespace.ns.inum`.
    pid_namespace_inum,
    /// `mm_struct.total_vm`, pages.
    mm_total_vm,
    /// `mm_struct.pgtables_bytes`.
    mm_pgtables_bytes,
    /// `mm_struct.rss_stat` up to the first counter (`count` of the per-CPU counter since 6.2,
    /// else the first of `count[]`), pages.
    mm_rss_count,
    /// Distance between two RSS counters, in the order `MM_FILEPAGES`, `MM_ANONPAGES`,
    /// `MM_SWAPENTS`, `MM_SHMEMPAGES`.
    mm_rss_stride,
    /// `css_set.dfl_cgrp`.
    css_set_dfl_cgrp,
    /// `css_set.cgrp_links`: a list with an entry for each hierarchy.
    css_set_cgrp_links,
    /// `css_set.subsys[memory_cgrp_id]`.
    css_set_memory,
    /// `cgroup_subsys_state.cgroup`.
    css_cgroup,
    /// `cgroup_subsys_state.parent`.
    css_parent,
    /// `cgroup.self`, a `cgroup_subsys_state`.
    cgroup_self,
    /// `cgroup.kn`.
    cgroup_kn,
    /// `cgroup.root`.
    cgroup_root,
    /// `cgroup_root.name`: of a hierarchy that has one.
    cgroup_root_name,
    /// `cgroup.level`: how far below the root, which has 0.
    cgroup_level,
    /// `kernfs_node.id`: the inode number of the cgroup's directory.
    kernfs_node_id,
    /// `kernfs_node.name`.
    kernfs_node_name,
    /// `mem_cgroup.css`.
    memcg_css,
    /// `mem_cgroup.memory.usage`, pages.
    memcg_memory_usage,
    /// `mem_cgroup.memory.max`, pages.
    memcg_memory_max,
    /// `mem_cgroup.memsw.usage` (v1) or `swap.usage` (v2), pages.
    memcg_memsw_usage,
    /// `mem_cgroup.memsw.max` (v1) or `swap.max` (v2), pages.
    memcg_memsw_max,
    /// `mem_cgroup.oom_group`.
    memcg_oom_group,
    /// `mem_cgroup.oom_lock`.
    memcg_oom_lock,
    /// `oom_control.memcg`.
    oc_memcg,
    /// `oom_control.gfp_mask`.
    oc_gfp_mask,
    /// `oom_control.order`.
    oc_order,
    /// `oom_control.totalpages`.
    oc_totalpages,
    /// `oom_control.chosen`.
    oc_chosen,
    /// `oom_control.chosen_points`.
    oc_chosen_points,
    /// `oom_control.constraint`.
    oc_constraint,
}

/// How the kernel programs should behave on this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Settings {
    /// 1 where `mark_victim` carries only a pid: the signal hook then sends whole records.
    pub whole_signals: u32,
    /// 1 where `bpf_probe_read_kernel_str` may be used for the names of cgroups.
    pub names: u32,
    /// Offset of `pid` in the plain tracepoint `oom:mark_victim`, or [`ABSENT`].
    pub tracepoint_pid: u32,
    /// Offset of `sig` in the plain tracepoint `signal:signal_generate`, or [`ABSENT`].
    pub signal_sig: u32,
    /// Offset of `code` there, or [`ABSENT`].
    pub signal_code: u32,
    /// Offset of `pid` there, or [`ABSENT`].
    pub signal_pid: u32,
    /// 1 where `bpf_probe_read_kernel` may be used by programs that get no task.
    pub probe_reads: u32,
    /// [`ABI_VERSION`](crate::ABI_VERSION) for the header of each record.
    pub version: u32,
    /// The generation of these programs: they record while the ledger has the same.
    pub generation: u64,
}

const _: () = assert!(size_of::<Offsets>() == 4 * Offsets::NAMES.len());
const _: () = assert!(size_of::<Settings>() == 40);
