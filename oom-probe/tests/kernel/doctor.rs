use oom_probe::{
    capture::{
        environment::{Calls, Capabilities, Capability, Facts, Lockdown, Memlock, Seccomp},
        pin::PinDirState,
        plan::{Tried, plan},
        trial::Target,
    },
    cgroup::hierarchy::{Hierarchy, MemoryRoot},
    commands::doctor::{Check, Containers, Diagnosis, Level, State, diagnose, render},
};

use super::recorded::{self, KERNELS};

fn free() -> PinDirState {
    PinDirState::Free("/sys/fs/bpf/oom-probe".into())
}

/// All that is promised was tried.
const TRIED: Tried = Tried {
    mark: true,
    context: true,
};

fn with(kernel: &str, change: impl FnOnce(&mut Facts)) -> Diagnosis {
    let mut facts = recorded::facts(kernel);
    change(&mut facts);
    diagnose(
        &facts,
        &plan(&facts),
        TRIED,
        &free(),
        &Containers::default(),
    )
}

fn check<'a>(diagnosis: &'a Diagnosis, name: &str) -> &'a Check {
    diagnosis
        .checks
        .iter()
        .find(|check| check.check == name)
        .unwrap()
}

/// The checks that are worse than a note.
fn bad(diagnosis: &Diagnosis) -> Vec<(&str, Level)> {
    let worse = diagnosis
        .checks
        .iter()
        .filter(|check| check.level > Level::Note);
    worse.map(|check| (check.check, check.level)).collect()
}

#[test]
fn a_free_node_has_nothing_to_complain_about() {
    for kernel in KERNELS {
        let diagnosis = with(kernel, |facts| {
            facts.capabilities = Capabilities::of(&[Capability::SysAdmin, Capability::SysResource]);
        });
        assert!(diagnosis.captures, "{kernel}");
        assert_eq!(bad(&diagnosis), [], "{kernel}");
        assert_eq!(check(&diagnosis, "kernel").value, kernel);
    }
}

#[test]
fn the_verdict_names_the_hook_or_the_remedy() {
    type Change = fn(&mut Facts);
    let cases: [(&str, Change, &str); 6] = [
        (
            "6.12",
            |_| (),
            "OOM kills can be captured here, by raw_tp/mark_victim.",
        ),
        (
            "5.10",
            |_| (),
            "OOM kills can be captured here, by raw_tp/signal_generate with raw_tp/mark_victim.",
        ),
        (
            "6.1-rt",
            |facts| facts.btf = Err("no usable BTF in x: it is empty".into()),
            "OOM kills can be captured here, by tracepoint oom:mark_victim with /proc.",
        ),
        (
            "6.12",
            |facts| facts.capabilities = Capabilities::of(&[Capability::Bpf]),
            "OOM kills cannot be captured here: missing capabilities: PERFMON; run as root, or add \
             the capabilities PERFMON.",
        ),
        (
            "5.10",
            |facts| {
                facts.capabilities = Capabilities::of(&[Capability::Bpf, Capability::Perfmon]);
            },
            "OOM kills cannot be captured here: RLIMIT_MEMLOCK is too low for this kernel and \
             cannot be raised; add the capability SYS_RESOURCE, or raise RLIMIT_MEMLOCK.",
        ),
        (
            "5.10",
            |facts| facts.lockdown = Lockdown::Confidentiality,
            "OOM kills cannot be captured here: lockdown=confidentiality refuses tracefs.",
        ),
    ];
    for (kernel, change, verdict) in cases {
        let diagnosis = with(kernel, change);
        assert_eq!(diagnosis.verdict, verdict, "{kernel}");
        assert_eq!(diagnosis.captures, verdict.contains("can be"), "{kernel}");
    }
}

#[test]
fn who_refuses_is_told_apart() {
    type Change = fn(&mut Facts);
    let cases: [(Change, &[&str], &str); 4] = [
        (
            |facts| {
                facts.bpf = Calls {
                    reach: libc::EPERM,
                    create: libc::EPERM,
                };
                facts.seccomp = Seccomp::Filter;
            },
            &["bpf(2)", "seccomp", "hook", "signals"],
            "a seccomp filter refuses bpf(2)",
        ),
        (
            |facts| {
                facts.bpf = Calls {
                    reach: libc::E2BIG,
                    create: libc::EPERM,
                };
                facts.capabilities = Capabilities::of(&[]);
            },
            &["bpf(2)", "capabilities", "hook", "signals"],
            "missing capabilities: BPF, PERFMON",
        ),
        (
            |facts| {
                facts.bpf = Calls {
                    reach: libc::E2BIG,
                    create: libc::EACCES,
                }
            },
            &["bpf(2)", "hook", "signals"],
            "a security module refuses bpf(2)",
        ),
        (
            |facts| facts.initial_user_namespace = false,
            &["bpf(2)", "capabilities", "hook", "signals"],
            "capabilities do not count in this user namespace",
        ),
    ];
    for (change, failures, cause) in cases {
        let diagnosis = with("6.1", change);
        let failed: Vec<_> = diagnosis
            .checks
            .iter()
            .filter(|check| check.level == Level::Failure)
            .map(|check| check.check)
            .collect();
        assert_eq!(failed, failures, "{cause}");
        assert_eq!(check(&diagnosis, "hook").value, cause);
        assert!(
            !check(&diagnosis, "hook").hint.is_empty(),
            "{cause} has a remedy"
        );
    }
}

#[test]
fn what_a_lower_rung_loses_is_said() {
    let locked = with("7.2", |facts| facts.lockdown = Lockdown::Confidentiality);
    assert_eq!(
        bad(&locked),
        [("lockdown", Level::Warning), ("hook", Level::Warning)]
    );
    let hint = &check(&locked, "hook").hint;
    assert!(
        hint.starts_with("memory usage and limit: direct loads do not reach it"),
        "{hint}"
    );

    let traced = with("6.1", |facts| facts.btf = Err("no BTF".into()));
    let expected = ["BTF", "hook", "context"].map(|name| (name, Level::Warning));
    assert_eq!(bad(&traced), expected);
    let blind = with("6.1", |facts| {
        facts.btf = Err("no BTF".into());
        let tracefs = facts.tracefs.as_mut().unwrap();
        tracefs.signal_generate = Err("the tracepoint signal_generate has no field code".into());
    });
    let expected = ["BTF", "hook", "signals", "context"].map(|name| (name, Level::Warning));
    assert_eq!(bad(&blind), expected);

    let partial = with("6.1", |facts| {
        let layout = facts.btf.as_mut().unwrap();
        layout
            .missing
            .push(("cred_uid", "struct cred has no uid".into()));
    });
    assert_eq!(check(&partial, "BTF").hint, "struct cred has no uid");
    assert_eq!(
        check(&partial, "hook").hint,
        "user id: struct cred has no uid"
    );
}

#[test]
fn without_context_it_is_said_how_the_domain_is_told() {
    for (kernel, how) in [
        ("6.1", "mem_cgroup.oom_lock"),
        ("7.2", "inferred from usage and limits"),
    ] {
        let diagnosis = with(kernel, |_| ());
        assert!(check(&diagnosis, "context").hint.ends_with(how), "{kernel}");
    }
}

#[test]
fn locked_memory_is_explained_by_the_kernel_that_counts_it() {
    let unlimited = Memlock {
        soft: 65536,
        hard: u64::MAX,
    };
    for (kernel, value, hint) in [
        (
            "5.10",
            "unlimited",
            "BPF maps count against it: it is enough or can be raised",
        ),
        (
            "6.1",
            "unlimited",
            "this kernel does not count BPF maps against it",
        ),
    ] {
        let diagnosis = with(kernel, |facts| facts.memlock = unlimited);
        let found = check(&diagnosis, "locked memory");
        assert_eq!(
            (found.value.as_str(), found.hint.as_str()),
            (value, hint),
            "{kernel}"
        );
    }
}

#[test]
fn invisible_kills_depend_on_the_hierarchy_and_on_the_containers() {
    let cases = [
        (Hierarchy::V1, 0, 5, "always possible"),
        (Hierarchy::Hybrid, 0, 0, "always possible"),
        (Hierarchy::V2, 0, 0, "possible"),
        (
            Hierarchy::V2,
            4,
            0,
            "rare: all 4 containers have memory.oom.group",
        ),
        (Hierarchy::V2, 3, 2, "possible: 2 of 5 containers"),
    ];
    for (hierarchy, grouped, single, value) in cases {
        let mut facts = recorded::facts("6.1");
        facts.cgroup = Ok(MemoryRoot {
            hierarchy,
            path: "/sys/fs/cgroup".into(),
        });
        let diagnosis = diagnose(
            &facts,
            &plan(&facts),
            TRIED,
            &free(),
            &Containers { grouped, single },
        );
        assert_eq!(
            check(&diagnosis, "invisible kills").value,
            value,
            "{hierarchy}"
        );
    }
}

#[test]
fn the_first_hook_that_can_work_is_first_and_other_forms_are_moot() {
    use State::{First, Moot, Refused, Spare};
    let diagnosis = with("5.10", |_| ());
    let states: Vec<_> = diagnosis.hooks.iter().map(|rung| rung.state).collect();
    assert_eq!(states, [Moot, Moot, Moot, First, Refused, Refused, Spare]);
}

#[test]
fn json_says_the_same_by_contract_names() {
    let diagnosis = with("6.1", |facts| facts.kprobes = false);
    let json = serde_json::to_value(&diagnosis).unwrap();
    assert_eq!(json["captures"], true);
    assert_eq!(
        json["checks"][0],
        serde_json::json!({
            "level": "ok", "check": "kernel", "value": "6.1"
        })
    );
    assert_eq!(
        json["hooks"][0],
        serde_json::json!({
            "name": "raw_tp", "hook": "raw_tp/mark_victim", "state": "first"
        })
    );
    assert_eq!(json["contexts"][2]["reason"], "the kernel has no kprobes");
}

#[test]
fn the_table_fits_its_width_and_colours_only_symbols_and_verdict() {
    for (kernel, width) in [("6.1", 80), ("5.10", 120), ("7.2", 200)] {
        let text = render(
            &with(kernel, |facts| facts.btf = Err("no BTF".into())),
            width,
        );
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_ne!(text, plain);
        let verdict = plain.lines().last().unwrap();
        for line in plain.lines().filter(|line| *line != verdict) {
            assert!(line.chars().count() <= usize::from(width), "{line}");
            assert_eq!(line.trim_end(), line);
        }
        assert!(
            verdict.starts_with("OOM kills can be captured here"),
            "{verdict}"
        );
        assert!(
            plain.contains(" ▲  BTF ") && plain.contains(" ✓  kernel "),
            "{plain}"
        );
    }
}

#[test]
fn a_reason_that_repeats_is_given_once() {
    let diagnosis = with("6.1", |facts| facts.btf = Err("the only reason".into()));
    let plain = anstream::adapter::strip_str(&render(&diagnosis, 160)).to_string();
    // Once as a check, once for the marks, once for the contexts.
    assert_eq!(plain.matches("the only reason").count(), 3, "{plain}");
    assert!(plain.contains("as above"));
}

#[test]
fn it_says_whether_kills_are_kept_while_no_daemon_runs() {
    let path = || "/sys/fs/bpf/oom-probe".into();
    for (place, level, says) in [
        (PinDirState::Free(path()), Level::Ok, "kills will be kept"),
        (
            PinDirState::Held(path(), "pid 7 on node-1".into()),
            Level::Ok,
            "of pid 7 on node-1",
        ),
        (PinDirState::Left(path()), Level::Note, "oom-probe unpin"),
        (
            PinDirState::Unusable("/tmp is on no bpffs".into()),
            Level::Warning,
            "lost",
        ),
    ] {
        let facts = recorded::facts("6.12");
        let diagnosis = diagnose(&facts, &plan(&facts), TRIED, &place, &Containers::default());
        let pins = check(&diagnosis, "pins");
        assert_eq!(pins.level, level, "{place:?}");
        assert!(pins.hint.contains(says), "{place:?}: {}", pins.hint);
    }
}

#[test]
fn sandboxes_are_told_apart_only_by_the_nodes_processes() {
    let mut facts = recorded::facts("6.1");
    facts.cgroup = Ok(MemoryRoot {
        hierarchy: Hierarchy::V2,
        path: "/sys/fs/cgroup".into(),
    });
    facts.host_proc = Err("only this container's processes".into());
    let containers = Containers {
        grouped: 3,
        single: 2,
    };
    let diagnosis = diagnose(&facts, &plan(&facts), TRIED, &free(), &containers);
    let found = check(&diagnosis, "invisible kills");
    assert_eq!(found.value, "possible: at most 2 of 5 containers");
    assert!(found.hint.contains("hostPID"), "{}", found.hint);
}

/// The hooks that are left, each with whether it was tried, where the kernel refuses some targets.
fn tried_out(
    change: impl Fn(&mut Facts),
    refuses: impl Fn(Target) -> bool,
) -> (Diagnosis, [String; 2]) {
    let mut facts = recorded::facts("6.1");
    facts.btf_path = "/sys/kernel/btf/vmlinux".into();
    change(&mut facts);
    let mut plan = plan(&facts);
    let tried = plan.try_out(&facts, &|target| match refuses(target) {
        true => Err(std::io::Error::from_raw_os_error(libc::EPERM)),
        false => Ok(()),
    });
    let diagnosis = diagnose(&facts, &plan, tried, &free(), &Containers::default());
    let values = ["hook", "context"].map(|name| check(&diagnosis, name).value.clone());
    (diagnosis, values)
}

#[test]
fn what_is_promised_was_tried_or_is_said_not_to_have_been() {
    const FENTRY: &str = "fentry and fexit of oom_kill_process";
    let no_kprobes = |facts: &mut Facts| facts.kprobes = false;
    let is_fentry = |target| matches!(target, Target::Fentry(_));

    let (_, values) = tried_out(|_| (), |_| false);
    assert_eq!(values, ["raw_tp/mark_victim", FENTRY]);

    let (diagnosis, values) = tried_out(no_kprobes, is_fentry);
    assert_eq!(values, ["raw_tp/mark_victim", "none"]);
    let reason = diagnosis.contexts[0].reason.as_deref().unwrap();
    assert!(
        reason.contains("refuses to attach it: Operation not permitted"),
        "{reason}"
    );
    assert_eq!(diagnosis.contexts[0].state, State::Refused);
    assert_eq!(check(&diagnosis, "context").level, Level::Warning);

    let (diagnosis, values) = tried_out(|facts| facts.kprobes = true, is_fentry);
    assert_eq!(
        values[1],
        "kprobe and kretprobe of oom_kill_process: not tried"
    );
    assert_eq!(check(&diagnosis, "context").level, Level::Note);

    let (_, values) = tried_out(no_kprobes, |target| {
        target == Target::RawTp(c"signal_generate")
    });
    assert_eq!(values[0], "tp_btf/mark_victim, direct loads");

    // The ids of a file are not the kernel's.
    let (diagnosis, values) = tried_out(|facts| facts.btf_path = "/tmp/btf".into(), |_| true);
    assert_eq!(values[1], format!("{FENTRY}: not tried"));
    assert_eq!(
        check(&diagnosis, "hook").value,
        "tp_btf/mark_victim, direct loads: not tried"
    );

    let (diagnosis, _) = tried_out(no_kprobes, |_| true);
    assert_eq!(
        check(&diagnosis, "hook").value,
        "tracepoint oom:mark_victim with /proc: not tried"
    );
}
