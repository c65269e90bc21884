//! Which member gives which offset: one row for each field of `Offsets`.

use super::missing::Missing;
use crate::capture::btf::{Btf, Kind, Type};

/// Where a path begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    /// `struct task_struct`.
    Task,
    /// `struct mem_cgroup`.
    MemCgroup,
    /// `struct oom_control`.
    OomControl,
}

/// What to note down of the place that a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Measure {
    /// Its offset.
    Offset,
    /// Size of an element of the last array on the way.
    Stride,
}

/// What the member must be. One that is something else was renamed, moved or reused, and reading
/// it would give silent garbage.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// An integer, `bool` or enum of that many bytes.
    Number(u32),
    /// A struct that wraps a number of that many bytes: `atomic_long_t`, `kuid_t`.
    Wrapped(u32),
    /// [`Shape::Number`] or [`Shape::Wrapped`] of 8 bytes, or an array of such.
    Counters,
    /// A pointer.
    Pointer,
    /// `char[16]` or longer.
    Text,
    /// A struct within the struct.
    Embedded,
    /// An array of structs.
    Structs,
}

/// One field of `Offsets`.
pub(super) struct Row {
    pub(super) field: &'static str,
    pub(super) root: Root,
    /// The present form first.
    pub(super) paths: &'static [&'static str],
    pub(super) measure: Measure,
    pub(super) shape: Shape,
}

const fn row(field: &'static str, root: Root, paths: &'static [&'static str], shape: Shape) -> Row {
    Row {
        field,
        root,
        paths,
        measure: Measure::Offset,
        shape,
    }
}

const fn stride(
    field: &'static str,
    root: Root,
    paths: &'static [&'static str],
    shape: Shape,
) -> Row {
    Row {
        field,
        root,
        paths,
        measure: Measure::Stride,
        shape,
    }
}

/// Since Linux 6.2 `rss_stat` is an array of `percpu_counter`, before it a struct with an array
/// `count`: this path leads to the first counter in both.
const RSS: &[&str] = &["mm->rss_stat.count"];

/// In the order of `Offsets`.
pub(super) const ROWS: &[Row] = {
    use Root::{MemCgroup, OomControl, Task};
    use Shape::{Counters, Embedded, Number, Pointer, Structs, Text, Wrapped};
    &[
        row("task_pid", Task, &["pid"], Number(4)),
        row("task_tgid", Task, &["tgid"], Number(4)),
        row("task_flags", Task, &["flags"], Number(4)),
        row("task_comm", Task, &["comm"], Text),
        row("task_mm", Task, &["mm"], Pointer),
        row("task_signal", Task, &["signal"], Pointer),
        row("task_group_leader", Task, &["group_leader"], Pointer),
        row("task_real_parent", Task, &["real_parent"], Pointer),
        // Renamed in Linux 5.5.
        row(
            "task_start_boottime",
            Task,
            &["start_boottime", "real_start_time"],
            Number(8),
        ),
        row("task_real_cred", Task, &["real_cred"], Pointer),
        row("task_cgroups", Task, &["cgroups"], Pointer),
        row("cred_uid", Task, &["real_cred->uid"], Wrapped(4)),
        row(
            "signal_oom_score_adj",
            Task,
            &["signal->oom_score_adj"],
            Number(2),
        ),
        row(
            "signal_pid_tgid",
            Task,
            &["signal->pids[PIDTYPE_TGID]"],
            Pointer,
        ),
        row(
            "pid_level",
            Task,
            &["signal->pids[PIDTYPE_TGID]->level"],
            Number(4),
        ),
        row(
            "pid_numbers",
            Task,
            &["signal->pids[PIDTYPE_TGID]->numbers"],
            Structs,
        ),
        stride(
            "upid_size",
            Task,
            &["signal->pids[PIDTYPE_TGID]->numbers"],
            Structs,
        ),
        row(
            "upid_nr",
            Task,
            &["signal->pids[PIDTYPE_TGID]->numbers->nr"],
            Number(4),
        ),
        row(
            "upid_ns",
            Task,
            &["signal->pids[PIDTYPE_TGID]->numbers->ns"],
            Pointer,
        ),
        row(
            "pid_namespace_inum",
            Task,
            &["signal->pids[PIDTYPE_TGID]->numbers->ns->ns.inum"],
            Number(4),
        ),
        row("mm_total_vm", Task, &["mm->total_vm"], Number(8)),
        row(
            "mm_pgtables_bytes",
            Task,
            &["mm->pgtables_bytes"],
            Wrapped(8),
        ),
        row("mm_rss_count", Task, RSS, Counters),
        stride("mm_rss_stride", Task, RSS, Counters),
        row("css_set_dfl_cgrp", Task, &["cgroups->dfl_cgrp"], Pointer),
        row(
            "css_set_cgrp_links",
            Task,
            &["cgroups->cgrp_links"],
            Embedded,
        ),
        row(
            "css_set_memory",
            Task,
            &["cgroups->subsys[memory_cgrp_id]"],
            Pointer,
        ),
        row(
            "css_cgroup",
            Task,
            &["cgroups->subsys[memory_cgrp_id]->cgroup"],
            Pointer,
        ),
        row(
            "css_parent",
            Task,
            &["cgroups->subsys[memory_cgrp_id]->parent"],
            Pointer,
        ),
        row("cgroup_self", Task, &["cgroups->dfl_cgrp->self"], Embedded),
        row("cgroup_kn", Task, &["cgroups->dfl_cgrp->kn"], Pointer),
        row("cgroup_root", Task, &["cgroups->dfl_cgrp->root"], Pointer),
        row(
            "cgroup_root_name",
            Task,
            &["cgroups->dfl_cgrp->root->name"],
            Text,
        ),
        row(
            "cgroup_level",
            Task,
            &["cgroups->dfl_cgrp->level"],
            Number(4),
        ),
        row(
            "kernfs_node_id",
            Task,
            &["cgroups->dfl_cgrp->kn->id"],
            Number(8),
        ),
        row(
            "kernfs_node_name",
            Task,
            &["cgroups->dfl_cgrp->kn->name"],
            Pointer,
        ),
        row("memcg_css", MemCgroup, &["css"], Embedded),
        row(
            "memcg_memory_usage",
            MemCgroup,
            &["memory.usage"],
            Wrapped(8),
        ),
        row("memcg_memory_max", MemCgroup, &["memory.max"], Number(8)),
        // One place, two names, in an anonymous union: v1 charges memory and swap, v2 swap.
        row(
            "memcg_memsw_usage",
            MemCgroup,
            &["memsw.usage", "swap.usage"],
            Wrapped(8),
        ),
        row(
            "memcg_memsw_max",
            MemCgroup,
            &["memsw.max", "swap.max"],
            Number(8),
        ),
        row("memcg_oom_group", MemCgroup, &["oom_group"], Number(1)),
        row("memcg_oom_lock", MemCgroup, &["oom_lock"], Number(1)),
        row("oc_memcg", OomControl, &["memcg"], Pointer),
        row("oc_gfp_mask", OomControl, &["gfp_mask"], Number(4)),
        row("oc_order", OomControl, &["order"], Number(4)),
        row("oc_totalpages", OomControl, &["totalpages"], Number(8)),
        row("oc_chosen", OomControl, &["chosen"], Pointer),
        row(
            "oc_chosen_points",
            OomControl,
            &["chosen_points"],
            Number(8),
        ),
        row("oc_constraint", OomControl, &["constraint"], Number(4)),
    ]
};

impl Shape {
    /// Whether a type, resolved, is of this shape.
    pub(super) fn fits(
        self,
        btf: &Btf,
        found: Type<'_>,
        size: Option<u32>,
    ) -> Result<bool, Missing> {
        let number = matches!(found.kind, Kind::Int | Kind::Enum | Kind::Enum64);
        Ok(match self {
            Self::Number(bytes) => number && size == Some(bytes),
            Self::Wrapped(bytes) => found.kind == Kind::Struct && size == Some(bytes),
            Self::Counters => {
                let counter = if found.kind == Kind::Array {
                    btf.resolve(found.array().element)?
                } else {
                    found
                };
                matches!(counter.kind, Kind::Int | Kind::Struct) && counter.size() == Some(8)
            }
            Self::Pointer => found.kind == Kind::Ptr,
            Self::Text => {
                found.kind == Kind::Array
                    && btf.size_of(found.array().element)? == Some(1)
                    && found.array().len >= 16
            }
            Self::Embedded => found.kind == Kind::Struct,
            Self::Structs => {
                found.kind == Kind::Array
                    && btf.resolve(found.array().element)?.kind == Kind::Struct
            }
        })
    }

    /// What is expected, for a message.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Number(1) => "a number of 1 byte",
            Self::Number(2) => "a number of 2 bytes",
            Self::Number(4) => "a number of 4 bytes",
            Self::Number(_) => "a number of 8 bytes",
            Self::Wrapped(4) => "a struct of 4 bytes",
            Self::Wrapped(_) => "a struct of 8 bytes",
            Self::Counters => "counters of 8 bytes",
            Self::Pointer => "a pointer",
            Self::Text => "16 characters or more",
            Self::Embedded => "a struct",
            Self::Structs => "an array of structs",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ROWS;
    use oom_probe_common::offsets::Offsets;

    #[test]
    fn every_offset_has_a_row_in_order() {
        let fields: Vec<_> = ROWS.iter().map(|row| row.field).collect();
        assert_eq!(fields, Offsets::NAMES);
    }
}
