//! Takes the debug sections out of the kernel object: four fifths of it, and nothing that the
//! kernel or the loader reads. BTF, made from them at link time, stays.

use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// The object without its debug sections.
///
/// # Errors
/// It is no ELF object, or one that cannot be written again.
pub(crate) fn debug_sections(elf: &[u8]) -> Result<Vec<u8>, String> {
    let mut builder = Builder::read(elf).map_err(|error| format!("cannot be read: {error}"))?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete = [".debug", ".rel.debug"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    }
    // bpf-linker keeps the names of sections and of symbols in one table; the writer wants two.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    // With the sections go their symbols, and what refers to those.
    builder.delete_orphans();
    let mut stripped = Vec::new();
    builder
        .write(&mut stripped)
        .map_err(|error| format!("cannot be written: {error}"))?;
    Ok(stripped)
}
