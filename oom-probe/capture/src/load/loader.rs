//! A loader of kernel programs that does not read the kernel's BTF.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use aya::EbpfLoader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::gettid;

use super::kernel_btf;

/// How often, and after which pause, is looked again whether a thread has its name.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// A loader without BTF of the kernel, of which the object has no need: it has no relocations.
///
/// `EbpfLoader::new` (aya 0.14) parses it, wanted or not, which takes 20 ms and 20 MB: half of the
/// start, and its peak. That there may be none to read it accepts, and for the moment of that call
/// there is nothing to read: this process can open no file.
///
/// The limit is the whole process's. So it is set only while this thread and those that open nothing
/// are all there are, as at the start; else the BTF is parsed in vain. Of those that open nothing
/// `open_nothing` are the names, and the one that parses bytes in memory.
///
/// # Errors
/// The limit on open files cannot be set back.
pub(super) fn without_kernel_btf<'a>(open_nothing: &[&str]) -> io::Result<EbpfLoader<'a>> {
    let mut found = others(open_nothing);
    for _ in 0..LOOKS {
        if found.as_ref().map_or(true, BTreeSet::is_empty) {
            break;
        }
        // A thread takes its name once it runs.
        thread::sleep(PAUSE);
        found = others(open_nothing);
    }
    match found {
        Ok(others) if others.is_empty() => {}
        Ok(others) => {
            tracing::debug!("the kernel's BTF is parsed in vain: there are threads {others:?}");
            return Ok(EbpfLoader::new());
        }
        Err(error) => {
            tracing::debug!("the kernel's BTF is parsed in vain: no list of threads: {error}");
            return Ok(EbpfLoader::new());
        }
    }
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

/// The names of the threads beside this one that may open a file. None of those that may not starts
/// another thread.
fn others(open_nothing: &[&str]) -> io::Result<BTreeSet<String>> {
    let own = gettid().as_raw_nonzero().to_string();
    let mut others = BTreeSet::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_str() == Some(&own) {
            continue;
        }
        match fs::read_to_string(task.path().join("comm")) {
            Ok(name) if open_nothing.contains(&name.trim_end()) => {}
            Ok(name) if name.trim_end() == kernel_btf::THREAD => {}
            Ok(name) => {
                others.insert(name.trim_end().to_owned());
            }
            // It has ended.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;
    use crate::btf::KERNEL_BTF;

    /// The name of a thread that opens no file.
    const IDLE: &str = "idle";
    /// Set in a process that has no other tests.
    const ALONE: &str = "OOM_PROBE_TEST_ALONE";

    /// As in the daemon, but for the harness's main thread, which waits for the test.
    fn loader() -> EbpfLoader<'static> {
        let main = fs::read_to_string("/proc/self/comm").unwrap();
        without_kernel_btf(&[IDLE, main.trim_end()]).unwrap()
    }

    fn has_btf(loader: &EbpfLoader<'_>) -> bool {
        !format!("{loader:?}").contains("btf: None")
    }

    /// Runs one of these tests in a process of its own; true in that process.
    fn alone(test: &str) -> bool {
        if env::var_os(ALONE).is_some() {
            return true;
        }
        let name = format!("load::loader::tests::{test}");
        let mut alone = Command::new(env::current_exe().unwrap());
        let alone = alone.args(["--exact", &name]);
        let output = alone.env(ALONE, "1").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("1 passed"), "{said}");
        false
    }

    #[test]
    fn the_loader_has_no_btf_and_files_can_be_opened_again() {
        if alone("the_loader_has_no_btf_and_files_can_be_opened_again") {
            let before = getrlimit(Resource::Nofile);
            let loader = loader();
            assert!(!has_btf(&loader), "{loader:?}");
            assert_eq!(getrlimit(Resource::Nofile), before);
        }
    }

    #[test]
    fn threads_that_open_nothing_are_no_hindrance() {
        if alone("threads_that_open_nothing_are_no_hindrance") {
            let threads = [IDLE, kernel_btf::THREAD].map(|name| {
                let (wait, end) = std::sync::mpsc::channel::<()>();
                let thread = thread::Builder::new().name(name.to_owned());
                (wait, thread.spawn(move || end.recv()).unwrap())
            });
            assert!(!has_btf(&loader()));
            for (wait, thread) in threads {
                drop(wait);
                thread.join().unwrap().unwrap_err();
            }
        }
    }

    #[test]
    fn beside_another_thread_files_can_be_opened_all_the_time() {
        if alone("beside_another_thread_files_can_be_opened_all_the_time") {
            let (wait, end) = std::sync::mpsc::channel::<()>();
            let other = thread::spawn(move || end.recv());
            // Who could not open it would have none.
            let is_there = fs::File::open(KERNEL_BTF).is_ok();
            assert_eq!(has_btf(&loader()), is_there);
            drop(wait);
            other.join().unwrap().unwrap_err();
        }
    }
}
