//! Programs on tracepoints: verified side by side, then attached one by one.

use std::collections::BTreeMap;
use std::thread;

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, Program, ProgramError, RawTracePoint, TracePoint, links::FdLink},
};

use super::{
    error::RungError,
    kernel_btf::KernelBtf,
    program::{Attached, attach, get},
};

/// Where a program goes.
#[derive(Clone, Copy)]
pub(super) enum HookPoint {
    /// The arguments of a tracepoint.
    RawTp(&'static str),
    /// The same with their types.
    TpBtf(&'static str),
    /// The record of a tracepoint, of a category.
    Tracepoint(&'static str, &'static str),
}

/// Lets the kernel verify programs, each on a thread of its own: the verifier takes milliseconds for
/// each of a rung's two.
pub(super) fn verify(
    programs: &mut Ebpf,
    btf: &KernelBtf,
    wanted: &[(&'static str, HookPoint)],
) -> Result<(), RungError> {
    let typed = wanted
        .iter()
        .any(|(_, at)| matches!(at, HookPoint::TpBtf(_)));
    let btf = if typed { Some(btf.get()?) } else { None };
    let mut all: BTreeMap<_, _> = programs.programs_mut().collect();
    let mut found = Vec::new();
    for &(name, at) in wanted {
        let program = all.remove(name).ok_or(RungError::Missing(name))?;
        found.push((name, at, program));
    }
    let last = found.pop();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (name, at, program) in found {
            let load = move || at.load(name, program, btf);
            let thread = thread::Builder::new().spawn_scoped(scope, load);
            threads.push(thread.map_err(RungError::Thread)?);
        }
        let here = last.map_or(Ok(()), |(name, at, program)| at.load(name, program, btf));
        // Of several refusals the first of the rung is told.
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(verified) => verified,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .chain([here])
            .collect()
    })
}

impl HookPoint {
    fn load(
        self,
        name: &'static str,
        program: &mut Program,
        btf: Option<&Btf>,
    ) -> Result<(), RungError> {
        let loaded = match (self, &mut *program, btf) {
            (Self::RawTp(_), Program::RawTracePoint(program), _) => program.load(),
            (Self::TpBtf(of), Program::BtfTracePoint(program), Some(btf)) => program.load(of, btf),
            (Self::Tracepoint(..), Program::TracePoint(program), _) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        loaded.map_err(|source| RungError::Program {
            program: name,
            source,
        })?;
        if let Ok(info) = program.info()
            && let Some(instructions) = info.verified_instruction_count()
        {
            tracing::debug!("start: {name} verified, {instructions} instructions followed");
        }
        Ok(())
    }

    /// Attaches a program that is verified.
    pub(super) fn attach(
        self,
        programs: &mut Ebpf,
        name: &'static str,
    ) -> Result<Attached, RungError> {
        match self {
            Self::RawTp(tracepoint) => {
                let program: &mut RawTracePoint = get(programs, name)?;
                attach(name, || {
                    let link = program.attach(tracepoint)?;
                    Ok(Some(program.take_link(link)?.into()))
                })
            }
            Self::TpBtf(_) => {
                let program: &mut BtfTracePoint = get(programs, name)?;
                attach(name, || {
                    let link = program.attach()?;
                    Ok(Some(program.take_link(link)?.into()))
                })
            }
            Self::Tracepoint(category, tracepoint) => {
                let program: &mut TracePoint = get(programs, name)?;
                attach(name, || {
                    let link = program.attach(category, tracepoint)?;
                    if let Ok(link) = FdLink::try_from(program.take_link(link)?) {
                        return Ok(Some(link));
                    }
                    // Without a link to keep, the attachment went with what was taken.
                    program.attach(category, tracepoint)?;
                    Ok(None)
                })
            }
        }
    }
}
