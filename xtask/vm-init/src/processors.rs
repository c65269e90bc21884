//! Processors beyond the first, which the kernel is told to leave off while it boots.

use std::fs;
use std::path::Path;

const ALL: &str = "/sys/devices/system/cpu";

/// Starts them; gives what did not work.
pub(crate) fn start() -> Vec<String> {
    let started = numbers().map(|number| Path::new(ALL).join(format!("cpu{number}/online")));
    // The first has no such file where it cannot be stopped.
    let started = started.filter(|file| file.exists());
    let results = started.map(|file| {
        let written = fs::write(&file, "1");
        written.map_err(|error| format!("{}: {error}", file.display()))
    });
    results.filter_map(Result::err).collect()
}

/// How many run.
pub(crate) fn running() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn numbers() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(ALL).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        entry
            .file_name()
            .to_str()?
            .strip_prefix("cpu")?
            .parse()
            .ok()
    })
}
