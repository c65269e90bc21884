//! Which programs make a rung, and how they are put into the kernel.

use aya::{
    Ebpf,
    programs::{FEntry, FExit, KProbe, links::FdLink},
};

use super::{
    error::RungError,
    kernel_btf::KernelBtf,
    program::{Attached, attach, get},
    tracepoint::{HookPoint, verify},
};
use crate::capture::plan::{ContextHook, Mark, MarkHook, SignalHook};

const MARK_VICTIM: &str = "mark_victim";
const SIGNAL_GENERATE: &str = "signal_generate";
const OOM_KILL_PROCESS: &str = "oom_kill_process";

/// The programs of a rung: the hook on signals, where there is one, and the hook on marks.
pub(super) const fn names_of_mark(mark: Mark) -> (Option<&'static str>, &'static str) {
    let signal = match mark.signal {
        Some(SignalHook::RawTp) => Some("signal_raw_tp"),
        Some(SignalHook::TpBtf) => Some("signal_tp_btf"),
        Some(SignalHook::Tracepoint(_)) => Some("signal_tracepoint"),
        None => None,
    };
    let mark = match mark.hook {
        MarkHook::RawTp => "mark_raw_tp",
        MarkHook::TpBtf(_) => "mark_tp_btf",
        MarkHook::SignalRawTp | MarkHook::SignalTpBtf(_) => "mark_raw_tp_pid",
        MarkHook::Tracepoint { .. } => "mark_tracepoint",
    };
    (signal, mark)
}

/// The programs at the end and at the begin of an OOM event.
pub(super) const fn names_of_context(hook: ContextHook) -> (&'static str, &'static str) {
    match hook {
        ContextHook::Fentry => ("end_fexit", "begin_fentry"),
        ContextHook::FentryDirect => ("end_fexit", "begin_fentry_direct"),
        ContextHook::Kprobe => ("end_kretprobe", "begin_kprobe"),
    }
}

/// Attaches a rung's programs.
pub(super) fn mark(
    programs: &mut Ebpf,
    btf: &KernelBtf,
    mark: Mark,
) -> Result<Vec<Attached>, RungError> {
    let (signal_name, mark_name) = names_of_mark(mark);
    let mut all = Vec::new();
    // The signal comes before its mark: attached first, it misses none.
    if let (Some(hook), Some(program)) = (mark.signal, signal_name) {
        let at = match hook {
            SignalHook::RawTp => HookPoint::RawTp(SIGNAL_GENERATE),
            SignalHook::TpBtf => HookPoint::TpBtf(SIGNAL_GENERATE),
            SignalHook::Tracepoint(_) => HookPoint::Tracepoint("signal", SIGNAL_GENERATE),
        };
        all.push((program, at));
    }
    let at = match mark.hook {
        MarkHook::RawTp | MarkHook::SignalRawTp | MarkHook::SignalTpBtf(_) => {
            HookPoint::RawTp(MARK_VICTIM)
        }
        MarkHook::TpBtf(_) => HookPoint::TpBtf(MARK_VICTIM),
        MarkHook::Tracepoint { .. } => HookPoint::Tracepoint("oom", MARK_VICTIM),
    };
    all.push((mark_name, at));
    verify(programs, btf, &all)?;
    tracing::debug!("start: programs verified");
    all.into_iter()
        .map(|(name, at)| at.attach(programs, name))
        .collect()
}

/// Attaches the programs at begin and end of an OOM event.
pub(super) fn context(
    programs: &mut Ebpf,
    btf: &KernelBtf,
    hook: ContextHook,
) -> Result<Vec<Attached>, RungError> {
    // The end comes first: an end without a begin is nothing, a begin without an end never closes.
    let (end, begin) = names_of_context(hook);
    match hook {
        ContextHook::Fentry | ContextHook::FentryDirect => {
            let btf = btf.get()?;
            let end = {
                let program: &mut FExit = get(programs, end)?;
                attach(end, || {
                    program.load(OOM_KILL_PROCESS, btf)?;
                    let link = program.attach()?;
                    Ok(Some(program.take_link(link)?.into()))
                })?
            };
            let program: &mut FEntry = get(programs, begin)?;
            let begin = attach(begin, || {
                program.load(OOM_KILL_PROCESS, btf)?;
                let link = program.attach()?;
                Ok(Some(program.take_link(link)?.into()))
            })?;
            Ok(vec![end, begin])
        }
        ContextHook::Kprobe => {
            let attached = kprobe(programs, end)?;
            match kprobe(programs, begin) {
                Ok(begin) => Ok(vec![attached, begin]),
                Err(error) => {
                    // Its link, where that is a perf event, goes with the program.
                    if let Ok(program) = get::<KProbe>(programs, end)
                        && let Err(error) = program.unload()
                    {
                        tracing::warn!("cannot unload {end}: {error}");
                    }
                    Err(error)
                }
            }
        }
    }
}

fn kprobe(programs: &mut Ebpf, name: &'static str) -> Result<Attached, RungError> {
    let program: &mut KProbe = get(programs, name)?;
    attach(name, || {
        program.load()?;
        let link = program.attach(OOM_KILL_PROCESS, 0)?;
        if let Ok(link) = FdLink::try_from(program.take_link(link)?) {
            return Ok(Some(link));
        }
        // As for the plain tracepoint.
        program.attach(OOM_KILL_PROCESS, 0)?;
        Ok(None)
    })
}
