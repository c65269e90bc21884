use capture::{
    btf::{Btf, Kind},
    layout::{self, Layout, MarkVictim, MemlockAccounting, OomKillProcess, SignalGenerate},
};
use oom_probe_common::offsets::ABSENT;

use super::builder::{patched, renamed};
use super::recorded::{self, KERNELS};

fn resolve(bytes: Vec<u8>) -> Layout {
    layout::resolve(&Btf::parse(bytes).unwrap())
}

/// Of `struct cgroup_root` the recordings have no members.
const NOT_RECORDED: &str = "cgroup_root_name";

fn missing(layout: &Layout) -> Vec<(&str, &str)> {
    layout
        .missing
        .iter()
        .filter(|(field, _)| *field != NOT_RECORDED)
        .map(|(field, reason)| (*field, reason.as_str()))
        .collect()
}

#[test]
fn offsets_are_those_that_a_c_compiler_finds() {
    for kernel in KERNELS {
        let layout = recorded::layout(kernel);
        let expected = recorded::offsets(kernel);
        for (field, offset) in layout.offsets.fields() {
            let expected = expected.get(field).copied().unwrap_or(ABSENT);
            assert_eq!(offset, expected, "{field} of {kernel}");
        }
    }
}

#[test]
fn only_kernels_without_cgroup_v1_lack_anything() {
    for kernel in KERNELS {
        let layout = recorded::layout(kernel);
        let lacks: &[_] = match kernel {
            "6.12" | "7.2" => &[("memcg_oom_lock", "struct mem_cgroup has no oom_lock")],
            _ => &[],
        };
        assert_eq!(missing(&layout), lacks, "{kernel}");
    }
}

#[test]
fn hooks_and_features_are_told_without_the_version() {
    for kernel in KERNELS {
        let layout = recorded::layout(kernel);
        let old = kernel == "5.10";
        let mark = if old {
            MarkVictim::PidOnly
        } else {
            MarkVictim::TaskPointer
        };
        let memlock = if old {
            MemlockAccounting::Rlimit
        } else {
            MemlockAccounting::Cgroup
        };
        assert_eq!(layout.mark_victim, mark, "{kernel}");
        assert_eq!(
            layout.signal_generate,
            SignalGenerate::TaskThird,
            "{kernel}"
        );
        assert_eq!(
            layout.oom_kill_process,
            OomKillProcess::OomControlFirst,
            "{kernel}"
        );
        assert_eq!(layout.memlock_accounting, memlock, "{kernel}");
        assert_eq!(layout.typed_current_task, Some(!old), "{kernel}");
    }
}

#[test]
fn a_member_that_is_gone_takes_only_its_own_offset_along() {
    for (member, other, field, reason) in [
        (
            "pgtables_bytes",
            "pgtables_bites",
            "mm_pgtables_bytes",
            "mm_struct has no pgtables_bytes",
        ),
        (
            "oom_group",
            "oom_grope",
            "memcg_oom_group",
            "mem_cgroup has no oom_group",
        ),
        (
            "dfl_cgrp",
            "dfl_crgp",
            "css_set_dfl_cgrp",
            "css_set has no dfl_cgrp",
        ),
    ] {
        let whole = recorded::layout("6.18");
        let mut layout = resolve(renamed(recorded::btf_bytes("6.18"), member, other));
        let why = layout
            .missing
            .iter()
            .find(|(name, _)| *name == field)
            .unwrap();
        assert!(why.1.contains(reason), "{}", why.1);
        // `dfl_cgrp` is also the way to `cgroup` and `kernfs_node`, which are absent with it.
        for (name, _) in std::mem::take(&mut layout.missing) {
            let also = member == "dfl_cgrp"
                && [
                    "cgroup_self",
                    "cgroup_kn",
                    "cgroup_level",
                    "cgroup_root",
                    "kernfs_node_id",
                    "kernfs_node_name",
                ]
                .contains(&name);
            let also = also || name == NOT_RECORDED;
            assert!(name == field || also, "{name} went with {member}");
            *layout.offsets.field_mut(name).unwrap() = whole
                .offsets
                .fields()
                .into_iter()
                .find(|(n, _)| *n == name)
                .unwrap()
                .1;
        }
        assert_eq!(layout.offsets, whole.offsets, "all but {member} stay");
    }
}

#[test]
fn swap_stands_in_where_there_is_no_memsw() {
    let whole = recorded::layout("6.18");
    let layout = resolve(renamed(recorded::btf_bytes("6.18"), "memsw", "menso"));
    assert_eq!(layout.offsets, whole.offsets);
}

#[test]
fn an_index_that_is_gone_takes_what_lies_behind_it() {
    let layout = resolve(renamed(
        recorded::btf_bytes("6.1"),
        "memory_cgrp_id",
        "memory_cgrp_ie",
    ));
    let reason = "enum cgroup_subsys_id has no memory_cgrp_id";
    let fields = ["css_set_memory", "css_cgroup", "css_parent"];
    assert_eq!(missing(&layout), fields.map(|field| (field, reason)));
}

#[test]
fn a_memory_cgroup_that_cannot_be_reached_is_not_read() {
    let layout = resolve(renamed(recorded::btf_bytes("6.18"), "css", "cxx"));
    for (field, offset) in layout.offsets.fields() {
        let is_absent = field.starts_with("memcg_") || field == NOT_RECORDED;
        assert_eq!(offset == ABSENT, is_absent, "{field}");
    }
    assert!(missing(&layout).contains(&("memcg_css", "struct mem_cgroup has no css")));
    let reason = "struct mem_cgroup has no css to come from";
    assert!(missing(&layout).contains(&("memcg_memory_max", reason)));
}

#[test]
fn a_member_of_another_size_is_absent_not_garbage() {
    let bytes = recorded::btf_bytes("6.1");
    let btf = Btf::parse(bytes.clone()).unwrap();
    let short = btf.types().find(|t| {
        t.kind == Kind::Int && t.size() == Some(2) && {
            btf.is_named(t.name, "short int") || btf.is_named(t.name, "short")
        }
    });
    // `size` is the third word of a type; the bits of the integer must follow, else it would be
    // taken for a bit field.
    let id = short.unwrap().id;
    let layout = resolve(patched(patched(bytes, id, 2, 4), id, 3, 32));
    let reason = "signal->oom_score_adj is Int of 4 bytes, expected a number of 2 bytes";
    assert_eq!(missing(&layout), [("signal_oom_score_adj", reason)]);
}

#[test]
fn the_task_is_found_by_signal_or_by_name_where_the_mark_is_unknown() {
    let whole = recorded::layout("6.12");
    let unmarked = renamed(
        recorded::btf_bytes("6.12"),
        "btf_trace_mark_victim",
        "btf_trace_mark_victor",
    );
    let unmarked_layout = resolve(unmarked.clone());
    assert_eq!(
        unmarked_layout.mark_victim,
        MarkVictim::Unknown("BTF has no typedef btf_trace_mark_victim".into())
    );
    assert_eq!(unmarked_layout.offsets, whole.offsets);

    let by_name = resolve(renamed(
        unmarked,
        "btf_trace_signal_generate",
        "btf_trace_signal_degenera",
    ));
    assert!(matches!(
        by_name.signal_generate,
        SignalGenerate::Unknown(_)
    ));
    assert_eq!(by_name.offsets, whole.offsets);
}

#[test]
fn oom_control_is_found_by_name_where_its_function_is_inlined() {
    let layout = resolve(renamed(
        recorded::btf_bytes("7.2"),
        "oom_kill_process",
        "oom_kill_program",
    ));
    assert_eq!(
        layout.oom_kill_process,
        OomKillProcess::Unknown("BTF has no function oom_kill_process".into())
    );
    assert_eq!(layout.offsets, recorded::layout("7.2").offsets);
}

#[test]
fn btf_without_any_of_the_types_says_so_for_each() {
    let layout = resolve(super::builder::btf(&[], &[]));
    assert_eq!(layout.missing.len(), layout.offsets.fields().len());
    assert!(missing(&layout).contains(&("task_pid", "BTF has no struct task_struct")));
    assert_eq!(layout.memlock_accounting, MemlockAccounting::Unknown);
    assert_eq!(layout.typed_current_task, None);
}

#[test]
fn two_structs_of_one_name_are_not_guessed_between() {
    // Two empty structs of one name.
    let types = [
        1,
        super::builder::info(4, 0),
        8,
        1,
        super::builder::info(4, 0),
        8,
    ];
    let layout = resolve(super::builder::btf(&types, &["task_struct"]));
    assert!(missing(&layout).contains(&("task_pid", "BTF has 2 structs task_struct")));
}
