//! One program of the object.

use aya::{
    Ebpf,
    programs::{Program, ProgramError, links::FdLink},
};

use super::error::RungError;

/// A program that is attached.
pub(super) struct Attached {
    pub(super) program: &'static str,
    /// None where the kernel has no link for it but a perf event: that is `Ebpf`'s to keep, and
    /// cannot be pinned.
    pub(super) link: Option<FdLink>,
}

/// The program of that name, as one of its kind.
pub(super) fn get<'a, P>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, RungError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = programs.program_mut(name).ok_or(RungError::Missing(name))?;
    program.try_into().map_err(|source| RungError::Program {
        program: name,
        source,
    })
}

/// Loads and attaches a program, by what is given.
pub(super) fn attach(
    program: &'static str,
    attach: impl FnOnce() -> Result<Option<FdLink>, ProgramError>,
) -> Result<Attached, RungError> {
    match attach() {
        Ok(link) => Ok(Attached { program, link }),
        Err(source) => Err(RungError::Program { program, source }),
    }
}
