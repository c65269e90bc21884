//! The shared libraries of an unpacked program: what a machine needs to run it that has nothing else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::FileHeader as _;

/// Where Debian's loader looks, in this order, on x86-64.
const PLACES: [&str; 4] = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib64",
    "usr/lib64",
];

/// All libraries that the programs need, and those that these need, by name: the loader is one of
/// them.
///
/// # Errors
/// One is missing below `root`, or is no ELF file.
pub(crate) fn libraries(root: &Path, programs: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut next = programs.to_vec();
    while let Some(file) = next.pop() {
        let told = || format!("read {}", file.display());
        let elf = fs::read(&file).with_context(told)?;
        for name in needed(&elf).with_context(told)? {
            if let Entry::Vacant(entry) = found.entry(name) {
                let name = entry.key();
                let mut places = PLACES.iter().map(|place| root.join(place).join(name));
                let library = places
                    .find(|path| path.exists())
                    .with_context(|| format!("{} needs {name}", file.display()))?;
                next.push(library.clone());
                entry.insert(library);
            }
        }
    }
    Ok(found)
}

/// The names in its dynamic section.
fn needed(elf: &[u8]) -> Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(elf)?;
    let endian = header.endian()?;
    let table = header.sections(endian, elf)?.dynamic_table(endian, elf)?;
    table
        .iter()
        .filter(|entry| entry.tag == DT_NEEDED)
        .map(|entry| Ok(String::from_utf8(table.string(entry)?.to_vec())?))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let nothing = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        let error = libraries(nothing.path(), &[program])
            .unwrap_err()
            .to_string();
        assert!(error.contains(" needs lib"), "{error}");
    }

    #[test]
    fn libraries_of_libraries_are_found_and_each_once() {
        let program = std::env::current_exe().unwrap();
        let elf = fs::read(&program).unwrap();
        let names = needed(&elf).unwrap();
        assert!(
            names.iter().any(|name| name.starts_with("libc.so.")),
            "{names:?}"
        );
        // A root where each of them is this very program: it needs what is there already.
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join(PLACES[1]);
        fs::create_dir_all(&place).unwrap();
        for name in &names {
            symlink(&program, place.join(name)).unwrap();
        }
        let found = libraries(root.path(), &[program]).unwrap();
        assert_eq!(found.len(), names.len());
        assert_eq!(found[&names[0]], place.join(&names[0]));
    }
}
