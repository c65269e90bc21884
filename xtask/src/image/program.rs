//! What a program has to be before it goes into an image: static, for the right machine, and without
//! a trace of the machine that built it.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

use super::arch::Arch;

/// Refuses a program that needs a loader or a library, or another machine.
///
/// # Errors
/// One line that says what it needs.
pub(super) fn check_static(elf: &[u8], arch: Arch) -> Result<()> {
    const DAMAGED: &str = "the program is damaged";
    let header = FileHeader64::<Endianness>::parse(elf).context("the program is no 64-bit ELF")?;
    let endian = header.endian().context(DAMAGED)?;
    let machine = header.e_machine(endian);
    if machine != arch.machine() {
        bail!(
            "the program is for machine {machine}, not for {}",
            arch.triple()
        );
    }
    for segment in header.program_headers(endian, elf).context(DAMAGED)? {
        if segment.p_type(endian) == PT_INTERP {
            bail!("the program is not static: it names a loader");
        }
        let dynamic = segment.dynamic(endian, elf).context(DAMAGED)?;
        if dynamic
            .unwrap_or_default()
            .iter()
            .any(|entry| entry.d_tag(endian) == DT_NEEDED)
        {
            bail!("the program is not static: it needs a shared library");
        }
    }
    Ok(())
}

/// Refuses a program that tells where it was built: built elsewhere, it would be another one.
///
/// # Errors
/// The directory that shows in it.
pub(super) fn check_anonymous<'a>(
    program: &[u8],
    directories: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    for directory in directories {
        let name = directory.as_os_str().as_encoded_bytes();
        if program.windows(name.len()).any(|window| window == name) {
            bail!("the program names {}", directory.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use object::elf::{EM_AARCH64, EM_X86_64, PT_DYNAMIC, PT_LOAD};

    use super::*;

    /// A program that is nothing but headers, and the dynamic entries if it has any.
    fn elf(machine: u16, segment: u32, tags: &[u64]) -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
        put(&2u16.to_le_bytes());
        put(&machine.to_le_bytes());
        put(&1u32.to_le_bytes());
        for offset in [0u64, 64, 0] {
            put(&offset.to_le_bytes());
        }
        put(&0u32.to_le_bytes());
        for size in [64u16, 56, 1, 64, 0, 0] {
            put(&size.to_le_bytes());
        }
        put(&segment.to_le_bytes());
        put(&4u32.to_le_bytes());
        let size = tags.len() as u64 * 16;
        for field in [120, 0, 0, size, size, 8] {
            put(&u64::to_le_bytes(field));
        }
        for tag in tags {
            put(&tag.to_le_bytes());
            put(&0u64.to_le_bytes());
        }
        elf
    }

    #[test]
    fn only_a_static_program_for_that_machine_is_taken() {
        let needed = DT_NEEDED.cast_unsigned();
        let cases = [
            (elf(EM_X86_64, PT_LOAD, &[]), None),
            // Static, and loaded anywhere: it relocates itself.
            (elf(EM_X86_64, PT_DYNAMIC, &[5, 0]), None),
            (
                elf(EM_X86_64, PT_INTERP, &[]),
                Some("not static: it names a loader"),
            ),
            (
                elf(EM_X86_64, PT_DYNAMIC, &[5, needed, 0]),
                Some("not static: it needs a shared library"),
            ),
            (elf(EM_AARCH64, PT_LOAD, &[]), Some("not for x86_64")),
            (b"#!/bin/sh".to_vec(), Some("no 64-bit ELF")),
        ];
        for (program, expected) in cases {
            let found = check_static(&program, Arch::Amd64).map_err(|error| error.to_string());
            match expected {
                None => assert_eq!(found, Ok(())),
                Some(part) => assert!(found.as_ref().is_err_and(|e| e.contains(part)), "{found:?}"),
            }
        }
    }

    #[test]
    fn a_program_that_names_a_directory_of_its_builder_is_refused() {
        let program = b"\0cargo/registry/x.rs\0/home/me/oom-probe/src/main.rs\0";
        let found = |directory: &str| check_anonymous(program, [Path::new(directory)]);
        assert!(found("/root/.cargo").is_ok());
        let error = found("/home/me/oom-probe").unwrap_err().to_string();
        assert_eq!(error, "the program names /home/me/oom-probe");
    }
}
