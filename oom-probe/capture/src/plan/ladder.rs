//! The rungs, in order, and what stands against each on a given node.

use super::{
    candidate::{Candidate, Loss},
    hook::{ContextHook, Mark, MarkHook, Names, SignalHook},
    obstacle::Obstacle,
    parts::{self, Reads},
};
use crate::{
    btf::KERNEL_BTF,
    environment::{Access, Capability, Facts, Lockdown, Tracefs},
    layout::{Layout, MarkVictim, MemlockAccounting, OomKillProcess, SignalGenerate},
};

/// Locked memory that maps and programs take where they count against `RLIMIT_MEMLOCK`, bytes: the
/// ring, the scratch buffers of many CPUs, the programs.
const MEMLOCK_NEEDED: u64 = 8 << 20;

/// The ways to learn of victims, best first.
pub(super) fn marks(facts: &Facts) -> Vec<Candidate<Mark>> {
    use MarkHook::{RawTp, SignalRawTp, SignalTpBtf, TpBtf};
    let mut marks: Vec<_> = [
        RawTp,
        TpBtf(Names::Read),
        TpBtf(Names::Skipped),
        SignalRawTp,
        SignalTpBtf(Names::Read),
        SignalTpBtf(Names::Skipped),
    ]
    .into_iter()
    .map(|hook| typed_mark(facts, hook))
    .collect();
    marks.push(tracepoint(facts));
    marks
}

/// The ways to learn of the memory cgroup that ran out, best first.
pub(super) fn contexts(facts: &Facts) -> Vec<Candidate<ContextHook>> {
    [
        ContextHook::Fentry,
        ContextHook::FentryDirect,
        ContextHook::Kprobe,
    ]
    .into_iter()
    .map(|hook| Candidate {
        hook,
        obstacle: everywhere(facts).or_else(|| against_context(facts, hook)),
        losses: facts
            .btf
            .as_ref()
            .map(parts::context_losses)
            .unwrap_or_default(),
    })
    .collect()
}

/// What no BPF program of tracing gets around.
fn everywhere(facts: &Facts) -> Option<Obstacle> {
    let access = facts.bpf_access();
    let accounting = match &facts.btf {
        Ok(layout) => layout.memlock_accounting,
        Err(_) => MemlockAccounting::Unknown,
    };
    let enough =
        facts.capabilities.has(Capability::SysResource) || facts.memlock.hard >= MEMLOCK_NEEDED;
    match (access, accounting) {
        (Access::Granted | Access::Denied, MemlockAccounting::Rlimit) if !enough => {
            Some(Obstacle::Memlock)
        }
        // The limit is raised before anything is loaded: then it may be granted.
        (Access::Denied, MemlockAccounting::Rlimit | MemlockAccounting::Unknown) if enough => None,
        (Access::Granted, _) => None,
        (refused, _) => Some(Obstacle::Bpf(refused)),
    }
}

/// BTF that can be used for reading the kernel's memory.
fn layout(facts: &Facts) -> Result<&Layout, Obstacle> {
    let layout = facts
        .btf
        .as_ref()
        .map_err(|why| Obstacle::NoBtf(why.clone()))?;
    // The kernel's own BTF is right by itself; of a file given by hand the tracepoint can tell.
    // The form that hands over the task also prints its name.
    if facts.btf_path.as_os_str() != KERNEL_BTF
        && let Ok(tracefs) = &facts.tracefs
    {
        let printed = tracefs.mark_victim.field("comm").is_some();
        if printed != (layout.mark_victim == MarkVictim::TaskPointer) {
            return Err(Obstacle::ForeignBtf);
        }
    }
    Ok(layout)
}

fn reads(hook: MarkHook) -> Reads {
    match hook {
        MarkHook::TpBtf(_) | MarkHook::SignalTpBtf(_) => Reads::Direct,
        MarkHook::RawTp | MarkHook::SignalRawTp | MarkHook::Tracepoint { .. } => Reads::Probe,
    }
}

/// A rung that reads the victim's structures.
fn typed_mark(facts: &Facts, hook: MarkHook) -> Candidate<Mark> {
    let found = layout(facts);
    let obstacle = everywhere(facts).or_else(|| match &found {
        Ok(layout) => against_mark(facts, layout, hook),
        Err(obstacle) => Some(obstacle.clone()),
    });
    let mut losses = Vec::new();
    let mut signal = None;
    if let Ok(layout) = found {
        losses = parts::victim_losses(layout, reads(hook));
        if matches!(
            hook,
            MarkHook::TpBtf(Names::Skipped) | MarkHook::SignalTpBtf(Names::Skipped)
        ) {
            losses.push(loss("names of cgroups", "found by their ids in user space"));
        }
        match &layout.signal_generate {
            SignalGenerate::TaskThird => {
                signal = Some(match reads(hook) {
                    Reads::Probe => SignalHook::RawTp,
                    Reads::Direct => SignalHook::TpBtf,
                });
            }
            SignalGenerate::Unknown(why) => losses.extend(without_signals(why)),
        }
    }
    Candidate {
        hook: Mark { hook, signal },
        obstacle,
        losses,
    }
}

fn against_mark(facts: &Facts, layout: &Layout, hook: MarkHook) -> Option<Obstacle> {
    let by_signal = matches!(hook, MarkHook::SignalRawTp | MarkHook::SignalTpBtf(_));
    match &layout.mark_victim {
        MarkVictim::Unknown(why) => return Some(Obstacle::UnknownPrototype(why.clone())),
        MarkVictim::TaskPointer if by_signal => return Some(Obstacle::OtherForm("the task")),
        MarkVictim::PidOnly if !by_signal => return Some(Obstacle::OtherForm("only a pid")),
        MarkVictim::TaskPointer | MarkVictim::PidOnly => {}
    }
    if let (true, SignalGenerate::Unknown(why)) = (by_signal, &layout.signal_generate) {
        return Some(Obstacle::UnknownPrototype(why.clone()));
    }
    if let Some(why) = parts::absence(layout, parts::IDS) {
        return Some(Obstacle::NoMember(why));
    }
    against_reads(facts, layout, reads(hook))
}

fn against_reads(facts: &Facts, layout: &Layout, reads: Reads) -> Option<Obstacle> {
    match reads {
        Reads::Probe if facts.lockdown == Lockdown::Confidentiality => {
            Some(Obstacle::Lockdown("bpf_probe_read_kernel"))
        }
        Reads::Direct if layout.typed_current_task == Some(false) => Some(Obstacle::NoTypedTask),
        Reads::Probe | Reads::Direct => None,
    }
}

/// The rung that reads no structure.
fn tracepoint(facts: &Facts) -> Candidate<Mark> {
    let (against, pid_offset) = match &facts.tracefs {
        _ if facts.lockdown == Lockdown::Confidentiality => {
            (Some(Obstacle::Lockdown("tracefs")), None)
        }
        Err(why) => (Some(Obstacle::NoTracefs(why.clone())), None),
        Ok(tracefs) => match tracefs.pid_offset() {
            None => (Some(Obstacle::NoPid), None),
            offset => (None, offset),
        },
    };
    let from_proc = match &facts.host_proc {
        Ok(()) => "read from /proc afterwards: lost where the process is gone first".to_owned(),
        Err(why) => format!("{why}, and the tracepoint has only the pid"),
    };
    let mut losses = vec![
        Loss {
            what: parts::CGROUP,
            why: from_proc.clone(),
        },
        Loss {
            what: "name, user id, sizes",
            why: from_proc,
        },
        loss(
            "memory usage and limit",
            "only the structures of the kernel have them at the kill",
        ),
        loss(
            "trigger's cgroup",
            "only the structures of the kernel have it at the kill",
        ),
    ];
    let signal = match &facts.tracefs {
        Ok(Tracefs {
            signal_generate, ..
        }) => match signal_generate {
            Ok(fields) => {
                let [_, sharers] = without_signals("plain tracepoints do not tell of the mm");
                losses.push(sharers);
                Some(SignalHook::Tracepoint(*fields))
            }
            Err(why) => {
                losses.extend(without_signals(why));
                None
            }
        },
        Err(_) => None,
    };
    Candidate {
        hook: Mark {
            hook: MarkHook::Tracepoint {
                pid_offset: pid_offset.unwrap_or(oom_probe_common::offsets::ABSENT),
            },
            signal,
        },
        obstacle: everywhere(facts).or(against),
        losses,
    }
}

fn without_signals(why: &str) -> [Loss; 2] {
    [
        loss("marks of dying tasks", &format!("counted as kills: {why}")),
        loss(
            "processes that share a victim's mm",
            &format!("not seen: {why}"),
        ),
    ]
}

fn loss(what: &'static str, why: &str) -> Loss {
    Loss {
        what,
        why: why.to_owned(),
    }
}

fn against_context(facts: &Facts, hook: ContextHook) -> Option<Obstacle> {
    let layout = match layout(facts) {
        Ok(layout) => layout,
        Err(obstacle) => return Some(obstacle),
    };
    match hook {
        ContextHook::Fentry | ContextHook::FentryDirect => {
            if let OomKillProcess::Unknown(why) = &layout.oom_kill_process {
                return Some(Obstacle::UnknownPrototype(why.clone()));
            }
            let reads = if hook == ContextHook::Fentry {
                Reads::Probe
            } else {
                Reads::Direct
            };
            against_reads(facts, layout, reads)
        }
        ContextHook::Kprobe if facts.lockdown == Lockdown::Confidentiality => {
            Some(Obstacle::Lockdown("kprobes"))
        }
        ContextHook::Kprobe => (!facts.kprobes).then_some(Obstacle::NoKprobes),
    }
}
