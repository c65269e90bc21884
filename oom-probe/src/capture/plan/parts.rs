//! Which parts of a record need which offsets.

use super::candidate::Loss;
use crate::capture::layout::Layout;

/// A part of a record and the fields of `Offsets` that it is read with.
pub(super) struct Part {
    pub(super) what: &'static str,
    pub(super) fields: &'static [&'static str],
    /// Whether direct loads can reach it: the verifier does not let them from a
    /// `cgroup_subsys_state` to the `mem_cgroup` around it.
    typed: bool,
}

const fn part(what: &'static str, fields: &'static [&'static str]) -> Part {
    Part {
        what,
        fields,
        typed: true,
    }
}

const fn untyped(what: &'static str, fields: &'static [&'static str]) -> Part {
    Part {
        what,
        fields,
        typed: false,
    }
}

/// Without these there is no victim to speak of.
pub(super) const IDS: &[&str] = &["task_pid", "task_tgid"];

/// The path of the victim's cgroup.
pub(super) const CGROUP: &str = "cgroup";

/// What is read of the victim.
const VICTIM: &[Part] = &[
    part("start time", &["task_group_leader", "task_start_boottime"]),
    part("name", &["task_comm"]),
    part("user id", &["task_real_cred", "cred_uid"]),
    part("oom_score_adj", &["task_signal", "signal_oom_score_adj"]),
    part("address space", &["task_mm", "mm_total_vm"]),
    part(
        "resident memory",
        &["task_mm", "mm_rss_count", "mm_rss_stride"],
    ),
    part("page tables", &["task_mm", "mm_pgtables_bytes"]),
    part(
        "pid in its namespace",
        &[
            "task_signal",
            "signal_pid_tgid",
            "pid_level",
            "pid_numbers",
            "upid_size",
            "upid_nr",
            "upid_ns",
            "pid_namespace_inum",
        ],
    ),
    part("parent", &["task_real_parent"]),
    part(
        CGROUP,
        &[
            "task_cgroups",
            "css_set_memory",
            "css_cgroup",
            "css_parent",
            "cgroup_self",
            "cgroup_kn",
            "kernfs_node_id",
        ],
    ),
    part("ends of a deep path", &["cgroup_level"]),
    part(
        "hierarchy of the cgroup",
        &["css_set_dfl_cgrp", "cgroup_root"],
    ),
    part("names of cgroups", &["kernfs_node_name"]),
    untyped(
        "memory usage and limit",
        &["memcg_css", "memcg_memory_usage", "memcg_memory_max"],
    ),
    untyped(
        "swap usage and limit",
        &["memcg_css", "memcg_memsw_usage", "memcg_memsw_max"],
    ),
    untyped("memory.oom.group", &["memcg_css", "memcg_oom_group"]),
    part("trigger: kernel thread or not", &["task_flags"]),
];

/// What is read of an OOM event.
const CONTEXT: &[Part] = &[
    part(
        "domain",
        &[
            "oc_memcg",
            "memcg_css",
            "css_cgroup",
            "cgroup_kn",
            "kernfs_node_id",
        ],
    ),
    part(
        "usage and limit of the domain",
        &["memcg_memory_usage", "memcg_memory_max"],
    ),
    part("constraint", &["oc_constraint"]),
    part("order of the allocation", &["oc_order"]),
    part("size of the domain", &["oc_totalpages"]),
    part("points", &["oc_chosen_points"]),
];

/// How a rung reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// By `bpf_probe_read_kernel`.
    Probe,
    /// By direct loads.
    Direct,
}

/// What records lack of the victim.
pub(super) fn victim_losses(layout: &Layout, reads: Reads) -> Vec<Loss> {
    let unreachable = VICTIM
        .iter()
        .filter(|part| reads == Reads::Direct && !part.typed)
        .map(|part| {
            let why = "direct loads do not reach it; absent from records";
            Loss {
                what: part.what,
                why: why.into(),
            }
        });
    let readable = VICTIM
        .iter()
        .filter(|part| reads == Reads::Probe || part.typed);
    readable
        .filter_map(|part| part.loss(layout))
        .chain(unreachable)
        .collect()
}

/// What records lack of the event.
pub(super) fn context_losses(layout: &Layout) -> Vec<Loss> {
    CONTEXT
        .iter()
        .filter_map(|part| part.loss(layout))
        .collect()
}

/// Why one of these fields is absent; `None` where all are there.
pub(super) fn absence(layout: &Layout, fields: &[&str]) -> Option<String> {
    let missing = layout
        .missing
        .iter()
        .find(|(field, _)| fields.contains(field));
    missing.map(|(_, reason)| reason.clone())
}

impl Part {
    fn loss(&self, layout: &Layout) -> Option<Loss> {
        absence(layout, self.fields).map(|why| Loss {
            what: self.what,
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oom_probe_common::offsets::Offsets;

    #[test]
    fn parts_name_fields_that_exist() {
        for part in VICTIM.iter().chain(CONTEXT) {
            for field in part.fields.iter().chain(IDS) {
                assert!(Offsets::NAMES.contains(field), "{field} of {}", part.what);
            }
        }
    }

    #[test]
    fn every_field_belongs_to_a_part_unless_nothing_reads_it() {
        // `oom_lock` decides about the domain, not about a part of the record.
        // On cgroup v1 the other two find a unit that has no memory cgroup, and are asked nowhere else.
        let unread = [
            "oc_gfp_mask",
            "oc_chosen",
            "memcg_oom_lock",
            "css_set_cgrp_links",
            "cgroup_root_name",
        ];
        for field in Offsets::NAMES {
            let read = VICTIM
                .iter()
                .chain(CONTEXT)
                .any(|part| part.fields.contains(field));
            assert!(
                read || IDS.contains(field) || unread.contains(field),
                "{field}"
            );
        }
    }
}
