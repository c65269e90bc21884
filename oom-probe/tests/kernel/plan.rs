use oom_probe::capture::{
    environment::{Facts, Lockdown, SignalFields},
    layout::{MarkVictim, OomKillProcess, SignalGenerate},
    plan::{
        Candidate, ContextHook, DomainSource, Mark, MarkHook, Names, Obstacle, Plan, SignalHook,
        plan,
    },
};
use oom_probe_common::offsets::{ABSENT, Settings};

use super::recorded::{self, KERNELS};

use ContextHook::{Fentry, FentryDirect, Kprobe};
use MarkHook::{RawTp, SignalRawTp, SignalTpBtf, TpBtf, Tracepoint};
use Names::{Read, Skipped};

pub(crate) fn with(kernel: &str, change: impl FnOnce(&mut Facts)) -> Plan {
    let mut facts = recorded::facts(kernel);
    change(&mut facts);
    plan(&facts)
}

pub(crate) fn marks(plan: &Plan) -> Vec<MarkHook> {
    plan.usable_marks()
        .map(|candidate| candidate.hook.hook)
        .collect()
}

pub(crate) fn contexts(plan: &Plan) -> Vec<ContextHook> {
    plan.usable_contexts()
        .map(|candidate| candidate.hook)
        .collect()
}

pub(crate) fn mark(plan: &Plan, hook: MarkHook) -> &Candidate<Mark> {
    plan.marks
        .iter()
        .find(|candidate| candidate.hook.hook == hook)
        .unwrap()
}

fn lost(candidate: &Candidate<Mark>) -> Vec<&str> {
    candidate.losses.iter().map(|loss| loss.what).collect()
}

#[test]
fn a_free_kernel_starts_at_the_top() {
    for kernel in KERNELS {
        let plan = with(kernel, |_| ());
        let expected = match kernel {
            "5.10" => vec![SignalRawTp, Tracepoint { pid_offset: 8 }],
            "6.1-rt" => vec![
                RawTp,
                TpBtf(Read),
                TpBtf(Skipped),
                Tracepoint { pid_offset: 12 },
            ],
            _ => vec![
                RawTp,
                TpBtf(Read),
                TpBtf(Skipped),
                Tracepoint { pid_offset: 8 },
            ],
        };
        assert_eq!(marks(&plan), expected, "{kernel}");
        assert_eq!(
            lost(plan.usable_marks().next().unwrap()),
            [""; 0],
            "{kernel}"
        );
        assert_eq!(plan.refusal(), None, "{kernel}");
        let direct = if kernel == "5.10" {
            vec![]
        } else {
            vec![FentryDirect]
        };
        assert_eq!(
            contexts(&plan),
            [vec![Fentry], direct, vec![Kprobe]].concat(),
            "{kernel}"
        );
    }
}

#[test]
fn a_pid_is_never_taken_for_a_pointer() {
    let plan = with("5.10", |_| ());
    for hook in [RawTp, TpBtf(Read), TpBtf(Skipped)] {
        assert_eq!(
            mark(&plan, hook).obstacle,
            Some(Obstacle::OtherForm("only a pid"))
        );
    }
    let plan = with("6.1", |_| ());
    for hook in [SignalRawTp, SignalTpBtf(Read), SignalTpBtf(Skipped)] {
        assert_eq!(
            mark(&plan, hook).obstacle,
            Some(Obstacle::OtherForm("the task"))
        );
    }
}

#[test]
fn the_hook_on_signals_reads_like_the_mark() {
    let plan = with("6.1", |_| ());
    for (hook, signal) in [
        (RawTp, Some(SignalHook::RawTp)),
        (TpBtf(Read), Some(SignalHook::TpBtf)),
        (TpBtf(Skipped), Some(SignalHook::TpBtf)),
        (
            Tracepoint { pid_offset: 8 },
            Some(SignalHook::Tracepoint(SignalFields {
                sig: 8,
                code: 16,
                pid: 36,
            })),
        ),
    ] {
        assert_eq!(mark(&plan, hook).hook.signal, signal, "{hook:?}");
    }
    // Real-time kernels shift the fields.
    let plan = with("6.1-rt", |_| ());
    let shifted = SignalFields {
        sig: 12,
        code: 20,
        pid: 40,
    };
    let lowest = Tracepoint { pid_offset: 12 };
    let signal = mark(&plan, lowest).hook.signal;
    assert_eq!(signal, Some(SignalHook::Tracepoint(shifted)));
    let plan = with("5.10", |_| ());
    assert_eq!(
        mark(&plan, SignalRawTp).hook.signal,
        Some(SignalHook::RawTp)
    );
}

#[test]
fn confidentiality_leaves_direct_loads() {
    for kernel in ["6.1", "6.1-rt", "7.2"] {
        let plan = with(kernel, |facts| {
            facts.lockdown = Lockdown::Confidentiality;
            facts.tracefs = Err("tracefs is empty".into());
        });
        assert_eq!(marks(&plan), [TpBtf(Read), TpBtf(Skipped)], "{kernel}");
        assert_eq!(contexts(&plan), [FentryDirect], "{kernel}");
        let names = |hook| lost(mark(&plan, hook)).contains(&"names of cgroups");
        assert!(!names(TpBtf(Read)) && names(TpBtf(Skipped)), "{kernel}");
        assert!(
            lost(mark(&plan, TpBtf(Read))).contains(&"memory usage and limit"),
            "{kernel}"
        );
    }
    let plan = with("5.10", |facts| facts.lockdown = Lockdown::Confidentiality);
    assert_eq!(
        marks(&plan),
        [],
        "5.10 has no typed pointer to the current task"
    );
    assert!(
        matches!(plan.refusal(), Some(Obstacle::Lockdown(_))),
        "{:?}",
        plan.refusal()
    );
}

#[test]
fn integrity_and_the_unknown_change_nothing() {
    let free = with("6.18", |_| ());
    for lockdown in [Lockdown::Integrity, Lockdown::Unknown] {
        assert_eq!(with("6.18", |facts| facts.lockdown = lockdown), free);
    }
}

#[test]
fn without_btf_the_plain_tracepoint_remains() {
    for why in [
        "no usable BTF in x: it is empty",
        "cannot read BTF from x: No such file",
    ] {
        let plan = with("6.1-rt", |facts| facts.btf = Err(why.into()));
        assert_eq!(marks(&plan), [Tracepoint { pid_offset: 12 }]);
        assert_eq!(contexts(&plan), []);
        assert_eq!(
            mark(&plan, RawTp).obstacle,
            Some(Obstacle::NoBtf(why.into()))
        );
        assert_eq!(plan.without_context, DomainSource::Inferred);
    }
}

#[test]
fn proc_of_another_pid_namespace_is_not_believed() {
    let tracepoint = Tracepoint { pid_offset: 8 };
    let seen = with("6.1", |_| ());
    let unseen = with("6.1", |facts| {
        facts.host_proc = Err("/proc is not the node's".into());
    });
    let why = |plan: &Plan| mark(plan, tracepoint).losses[0].why.clone();
    assert_eq!(
        why(&seen),
        "read from /proc afterwards: lost where the process is gone first"
    );
    assert_eq!(
        why(&unseen),
        "/proc is not the node's, and the tracepoint has only the pid"
    );
    assert_eq!(
        marks(&seen),
        marks(&unseen),
        "kills are counted all the same"
    );
}

#[test]
fn a_field_that_is_gone_is_a_loss_and_no_obstacle() {
    let plan = with("6.1", |facts| {
        let layout = facts.btf.as_mut().unwrap();
        layout
            .missing
            .push(("mm_rss_count", "struct mm_struct has no rss_stat".into()));
        layout.missing.push((
            "oc_chosen_points",
            "struct oom_control has no chosen_points".into(),
        ));
    });
    assert_eq!(marks(&plan)[0], RawTp);
    assert_eq!(lost(mark(&plan, RawTp)), ["resident memory"]);
    assert_eq!(
        mark(&plan, RawTp).losses[0].why,
        "struct mm_struct has no rss_stat"
    );
    assert_eq!(plan.contexts[0].losses[0].what, "points");
}

#[test]
fn without_the_ids_there_is_no_victim() {
    let plan = with("6.1", |facts| {
        let layout = facts.btf.as_mut().unwrap();
        layout
            .missing
            .push(("task_tgid", "struct task_struct has no tgid".into()));
    });
    assert_eq!(marks(&plan), [Tracepoint { pid_offset: 8 }]);
    let reason = "struct task_struct has no tgid".into();
    assert_eq!(
        mark(&plan, RawTp).obstacle,
        Some(Obstacle::NoMember(reason))
    );
}

#[test]
fn an_unknown_prototype_is_left_alone() {
    let unknown = || "it has neither a task nor a pid".to_owned();
    let plan = with("6.1", |facts| {
        facts.btf.as_mut().unwrap().mark_victim = MarkVictim::Unknown(unknown());
    });
    assert_eq!(marks(&plan), [Tracepoint { pid_offset: 8 }]);

    let no_signals = |facts: &mut Facts| {
        facts.btf.as_mut().unwrap().signal_generate = SignalGenerate::Unknown(unknown());
    };
    let plan = with("6.1", no_signals);
    assert_eq!(
        plan.usable_marks().next().unwrap().hook,
        Mark {
            hook: RawTp,
            signal: None
        }
    );
    assert!(lost(mark(&plan, RawTp)).contains(&"processes that share a victim's mm"));
    let plan = with("5.10", no_signals);
    assert_eq!(marks(&plan), [Tracepoint { pid_offset: 8 }]);
}

#[test]
fn an_inlined_function_has_no_fentry_and_no_kprobes_no_kprobe() {
    let plan = with("6.12", |facts| {
        facts.btf.as_mut().unwrap().oom_kill_process = OomKillProcess::Unknown("inlined".into());
    });
    assert_eq!(contexts(&plan), [Kprobe]);
    let plan = with("6.12", |facts| facts.kprobes = false);
    assert_eq!(contexts(&plan), [Fentry, FentryDirect]);
    assert_eq!(plan.contexts[2].obstacle, Some(Obstacle::NoKprobes));
}

#[test]
fn without_context_the_kernels_own_lock_tells_the_domain_where_it_is() {
    for kernel in KERNELS {
        let source = match kernel {
            "6.12" | "7.2" => DomainSource::Inferred,
            _ => DomainSource::OomLock,
        };
        assert_eq!(with(kernel, |_| ()).without_context, source, "{kernel}");
    }
}

#[test]
fn the_programs_are_told_which_rung_they_are_on() {
    let settings = |hook| {
        let Settings {
            whole_signals,
            names,
            tracepoint_pid,
            signal_sig,
            signal_code,
            signal_pid,
            probe_reads,
            version: _,
            generation: _,
        } = Mark { hook, signal: None }.settings();
        assert_eq!([signal_sig, signal_code, signal_pid], [ABSENT; 3]);
        assert_eq!(probe_reads, u32::from(hook == SignalRawTp), "{hook:?}");
        (whole_signals, names, tracepoint_pid)
    };
    for (hook, expected) in [
        (RawTp, (0, 1, ABSENT)),
        (TpBtf(Read), (0, 1, ABSENT)),
        (TpBtf(Skipped), (0, 0, ABSENT)),
        (SignalRawTp, (1, 1, ABSENT)),
        (SignalTpBtf(Skipped), (1, 0, ABSENT)),
        (Tracepoint { pid_offset: 12 }, (0, 1, 12)),
    ] {
        assert_eq!(settings(hook), expected, "{hook:?}");
    }
}
