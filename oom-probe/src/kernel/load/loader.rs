//! A loader of kernel programs that does not read the kernel's BTF.

use std::io;

use aya::EbpfLoader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A loader without BTF of the kernel, of which the object has no need: it has no relocations.
///
/// `EbpfLoader::new` (aya 0.14) parses it, wanted or not, which takes 20 ms and 20 MB: half of the
/// start, and its peak. That there may be none to read it accepts, and for the moment of that call
/// there is nothing to read: this process can open no file.
///
/// Other threads can open none either, so this is for the start, when they only write.
///
/// # Errors
/// The limit on open files cannot be set back.
pub(super) fn without_kernel_btf<'a>() -> io::Result<EbpfLoader<'a>> {
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..before
    };
    if let Err(error) = setrlimit(Resource::Nofile, none) {
        tracing::debug!("the kernel's BTF is parsed in vain: {error}");
        return Ok(EbpfLoader::new());
    }
    let loader = EbpfLoader::new();
    setrlimit(Resource::Nofile, before)?;
    Ok(loader)
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// Set in a process that has no other tests.
    const ALONE: &str = "OOM_PROBE_TEST_ALONE";

    /// In a process of its own: tests beside it could open no file for a moment.
    #[test]
    fn the_loader_has_no_btf_and_files_can_be_opened_again() {
        if env::var_os(ALONE).is_none() {
            let name = "kernel::load::loader::tests::\
                        the_loader_has_no_btf_and_files_can_be_opened_again";
            let mut alone = Command::new(env::current_exe().unwrap());
            let output = alone.args(["--exact", name]).env(ALONE, "1").output();
            let said = String::from_utf8(output.unwrap().stdout).unwrap();
            assert!(said.contains("1 passed"), "{said}");
            return;
        }
        let before = getrlimit(Resource::Nofile);
        let loader = without_kernel_btf().unwrap();
        assert!(format!("{loader:?}").contains("btf: None"), "{loader:?}");
        assert_eq!(getrlimit(Resource::Nofile), before);
    }
}
