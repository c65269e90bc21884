//! One line for each thing that decides what can be captured.

use serde::Serialize;

use super::containers::Containers;
use crate::{
    capture::{
        environment::{Access, Capability, Facts, Lockdown, Seccomp},
        layout::{Layout, MemlockAccounting},
        pin::PinDirState,
        plan::{Candidate, DomainSource, Obstacle, Plan, Tried},
    },
    cgroup::hierarchy::Hierarchy,
};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How good it is.
    pub level: Level,
    /// What was looked at.
    pub check: &'static str,
    /// What was found.
    pub value: String,
    /// What that means, or what to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know; nothing is lost.
    Note,
    /// Something is lost.
    Warning,
    /// Kills can't be captured.
    Failure,
}

/// Every check, from what the kernel is to what will be captured.
pub(super) fn all(
    facts: &Facts,
    plan: &Plan,
    tried: Tried,
    place: &PinDirState,
    containers: &Containers,
) -> Vec<Check> {
    vec![
        check(Level::Ok, "kernel", &facts.release, ""),
        btf(facts),
        bpf(facts),
        capabilities(facts),
        seccomp(facts),
        memlock(facts, plan),
        lockdown(facts),
        tracefs(facts),
        proc(facts),
        cgroup(facts),
        hook(plan, tried),
        signals(plan),
        context(plan, tried),
        pins(place),
        invisible_kills(facts, containers),
    ]
}

fn check(level: Level, check: &'static str, value: &str, hint: &str) -> Check {
    Check {
        level,
        check,
        value: value.to_owned(),
        hint: hint.to_owned(),
    }
}

fn btf(facts: &Facts) -> Check {
    const NAME: &str = "BTF";
    match &facts.btf {
        Err(why) => {
            let remedy = Obstacle::NoBtf(why.clone()).remedy().unwrap_or_default();
            check(Level::Warning, NAME, why, &remedy)
        }
        Ok(layout) => {
            let path = facts.btf_path.display().to_string();
            let missing = missing(layout);
            let level = if missing.is_empty() {
                Level::Ok
            } else {
                Level::Warning
            };
            check(level, NAME, &path, &missing.join("; "))
        }
    }
}

/// What the kernel lacks, but for the field that tells the domain without context and the one that is
/// read for units without a memory cgroup on cgroup v1.
fn missing(layout: &Layout) -> Vec<&str> {
    let mut reasons: Vec<_> = layout
        .missing
        .iter()
        .filter(|(field, _)| !["memcg_oom_lock", "cgroup_root_name"].contains(field))
        .map(|(_, reason)| reason.as_str())
        .collect();
    reasons.dedup();
    reasons
}

fn bpf(facts: &Facts) -> Check {
    const NAME: &str = "bpf(2)";
    match facts.bpf_access() {
        Access::Granted => check(Level::Ok, NAME, "granted", ""),
        refused => {
            let obstacle = Obstacle::Bpf(refused);
            let remedy = obstacle.remedy().unwrap_or_default();
            check(Level::Failure, NAME, &obstacle.to_string(), &remedy)
        }
    }
}

fn capabilities(facts: &Facts) -> Check {
    const NAME: &str = "capabilities";
    let needed = [Capability::Bpf, Capability::Perfmon];
    let list = |all: &[Capability]| {
        all.iter()
            .map(|c| c.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let missing = facts.capabilities.missing(&needed);
    if !missing.is_empty() {
        let value = format!("without {}", list(&missing));
        let remedy = Obstacle::Bpf(Access::Capability(missing))
            .remedy()
            .unwrap_or_default();
        return check(Level::Failure, NAME, &value, &remedy);
    }
    if !facts.initial_user_namespace {
        let obstacle = Obstacle::Bpf(Access::UserNamespace);
        let remedy = obstacle.remedy().unwrap_or_default();
        return check(Level::Failure, NAME, &obstacle.to_string(), &remedy);
    }
    check(Level::Ok, NAME, &list(&needed), "")
}

fn seccomp(facts: &Facts) -> Check {
    const NAME: &str = "seccomp";
    match (facts.seccomp, facts.bpf_access()) {
        (_, Access::Seccomp) => {
            let remedy = Obstacle::Bpf(Access::Seccomp).remedy().unwrap_or_default();
            check(Level::Failure, NAME, "a filter refuses bpf(2)", &remedy)
        }
        (Seccomp::Disabled, _) => check(Level::Ok, NAME, "no filter", ""),
        (Seccomp::Filter, Access::Granted) => {
            check(Level::Ok, NAME, "a filter, which lets bpf(2) pass", "")
        }
        (Seccomp::Filter, _) => check(Level::Note, NAME, "a filter", "it may refuse bpf(2) too"),
        (Seccomp::Unknown, _) => check(Level::Note, NAME, "not to be seen", ""),
    }
}

fn memlock(facts: &Facts, plan: &Plan) -> Check {
    const NAME: &str = "locked memory";
    let accounting = match &facts.btf {
        Ok(layout) => layout.memlock_accounting,
        Err(_) => MemlockAccounting::Unknown,
    };
    let limit = match facts.memlock.hard {
        u64::MAX => "unlimited".to_owned(),
        bytes => humansize::format_size(bytes, humansize::BINARY),
    };
    match accounting {
        _ if plan.refusal() == Some(&Obstacle::Memlock) => {
            let remedy = Obstacle::Memlock.remedy().unwrap_or_default();
            check(Level::Failure, NAME, &format!("at most {limit}"), &remedy)
        }
        MemlockAccounting::Cgroup => check(
            Level::Ok,
            NAME,
            &limit,
            "this kernel does not count BPF maps against it",
        ),
        MemlockAccounting::Rlimit => check(
            Level::Ok,
            NAME,
            &limit,
            "BPF maps count against it: it is enough or can be raised",
        ),
        MemlockAccounting::Unknown => {
            check(Level::Note, NAME, &limit, "until Linux 5.11 it matters")
        }
    }
}

fn lockdown(facts: &Facts) -> Check {
    let value = facts.lockdown.as_str();
    match facts.lockdown {
        Lockdown::None | Lockdown::Integrity => check(Level::Ok, "lockdown", value, ""),
        Lockdown::Confidentiality => {
            let hint = "no helper may read the kernel's memory: direct loads take its place";
            check(Level::Warning, "lockdown", value, hint)
        }
        Lockdown::Unknown => check(
            Level::Note,
            "lockdown",
            value,
            "securityfs is not to be seen",
        ),
    }
}

fn tracefs(facts: &Facts) -> Check {
    const NAME: &str = "tracefs";
    match &facts.tracefs {
        Ok(tracefs) => check(Level::Ok, NAME, &tracefs.mount.display().to_string(), ""),
        Err(why) => check(Level::Note, NAME, why, "only the last hook needs it"),
    }
}

fn proc(facts: &Facts) -> Check {
    const NAME: &str = "processes";
    match &facts.host_proc {
        Ok(()) => check(Level::Ok, NAME, "of the whole node", ""),
        Err(why) => {
            let hint = "give the node's procfs by --proc-root (Kubernetes: hostPID true)";
            check(Level::Note, NAME, why, hint)
        }
    }
}

fn cgroup(facts: &Facts) -> Check {
    const NAME: &str = "cgroups";
    match &facts.cgroup {
        Ok(root) => {
            let value = format!("{} at {}", root.hierarchy, root.path.display());
            check(Level::Ok, NAME, &value, "")
        }
        Err(why) => check(Level::Warning, NAME, why, "kills are captured all the same"),
    }
}

/// What a hook loses, in one line.
fn losses<H>(candidate: &Candidate<H>) -> String {
    let parts: Vec<_> = candidate
        .losses
        .iter()
        .map(|loss| format!("{}: {}", loss.what, loss.why))
        .collect();
    parts.join("; ")
}

/// How good a hook is, and what it is called: nothing is promised that was not tried.
fn promise<H>(candidate: &Candidate<H>, describe: &str, tried: bool) -> (Level, String) {
    match (candidate.losses.is_empty(), tried) {
        (true, true) => (Level::Ok, describe.to_owned()),
        (false, true) => (Level::Warning, describe.to_owned()),
        (true, false) => (Level::Note, format!("{describe}: not tried")),
        (false, false) => (Level::Warning, format!("{describe}: not tried")),
    }
}

fn hook(plan: &Plan, tried: Tried) -> Check {
    const NAME: &str = "hook";
    let Some(first) = plan.usable_marks().next() else {
        let (value, remedy) = plan.refusal().map_or_else(
            || ("none".to_owned(), String::new()),
            |obstacle| (obstacle.to_string(), obstacle.remedy().unwrap_or_default()),
        );
        return check(Level::Failure, NAME, &value, &remedy);
    };
    let (level, value) = promise(first, first.hook.describe(), tried.mark);
    check(level, NAME, &value, &losses(first))
}

fn signals(plan: &Plan) -> Check {
    const NAME: &str = "signals";
    match plan.usable_marks().next().map(|first| first.hook.signal) {
        Some(Some(_)) => {
            let hint = "tells kills from marks of dying tasks, and who shared the victim's memory";
            check(Level::Ok, NAME, "signal_generate", hint)
        }
        Some(None) => {
            let hint =
                "marks of dying tasks count as kills; who shared the victim's memory is not seen";
            check(Level::Warning, NAME, "none", hint)
        }
        None => check(Level::Failure, NAME, "none", ""),
    }
}

fn context(plan: &Plan, tried: Tried) -> Check {
    const NAME: &str = "context";
    let without = match plan.without_context {
        DomainSource::OomLock => "the cgroup that ran out is told by mem_cgroup.oom_lock",
        DomainSource::Inferred => "the cgroup that ran out is inferred from usage and limits",
    };
    let Some(first) = plan.usable_contexts().next() else {
        return check(Level::Warning, NAME, "none", without);
    };
    let (level, value) = promise(first, first.hook.describe(), tried.context);
    let hint = match losses(first) {
        none if none.is_empty() => format!("if the kernel refuses: {without}"),
        losses => losses,
    };
    check(level, NAME, &value, &hint)
}

/// Whether kills are kept while no daemon runs.
fn pins(place: &PinDirState) -> Check {
    const NAME: &str = "pins";
    match place {
        PinDirState::Held(path, holder) => {
            let hint = format!("of {holder}; kills are kept while no daemon runs");
            check(Level::Ok, NAME, &path.display().to_string(), &hint)
        }
        PinDirState::Left(path) => {
            let hint = "an earlier daemon's hooks go on recording: start one, or oom-probe unpin";
            check(Level::Note, NAME, &path.display().to_string(), hint)
        }
        PinDirState::Free(path) => {
            let hint = "kills will be kept while no daemon runs";
            check(Level::Ok, NAME, &path.display().to_string(), hint)
        }
        PinDirState::Unusable(why) => {
            let hint = "kills while no daemon runs are lost";
            check(Level::Warning, NAME, why, hint)
        }
    }
}

/// Whether a process can be OOM-killed here while its container lives on.
fn invisible_kills(facts: &Facts, containers: &Containers) -> Check {
    const NAME: &str = "invisible kills";
    let Containers { grouped, single } = *containers;
    match &facts.cgroup {
        Err(_) => check(Level::Note, NAME, "unknown", ""),
        Ok(root) if root.hierarchy != Hierarchy::V2 => {
            let hint = "cgroup v1 has no memory.oom.group: a child dies, its container lives on";
            check(Level::Note, NAME, "always possible", hint)
        }
        Ok(_) if grouped + single == 0 => {
            let hint =
                "outside containers only what has memory.oom.group (OOMPolicy=kill) dies whole";
            check(Level::Note, NAME, "possible", hint)
        }
        Ok(_) if single == 0 => {
            let value = format!("rare: all {grouped} containers have memory.oom.group");
            check(
                Level::Note,
                NAME,
                &value,
                "below a cgroup in the container with its own limit",
            )
        }
        Ok(_) if facts.host_proc.is_err() => {
            let all = grouped + single;
            let value = format!("possible: at most {single} of {all} containers");
            let hint = "pods' sandboxes are among them: telling those apart takes the node's \
                        processes (Kubernetes: hostPID true)";
            check(Level::Note, NAME, &value, hint)
        }
        Ok(_) => {
            let value = format!("possible: {single} of {} containers", grouped + single);
            check(
                Level::Note,
                NAME,
                &value,
                "without memory.oom.group a child dies alone",
            )
        }
    }
}
