//! A poller of the counters that each memory cgroup keeps.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io, thread};

use anyhow::Result;
use hog::cgroup::{Hierarchy, Version};

use super::{Line, Rival, own};

pub(super) const POLLER: Rival = Rival {
    name: "a poller of the cgroups' counters, every 100 ms",
    command: || own("counters"),
    ready: "polling",
    parse: |line| {
        Some(Line::Kill {
            pid: None,
            cgroup: Some(line.to_owned()),
        })
    },
};

const PAUSE: Duration = Duration::from_millis(100);
/// How deep containers lie: slice, slice, slice, scope, and one below.
const DEPTH: u32 = 5;

/// Prints the cgroup of each kill that a counter tells of.
pub(super) fn poll() -> Result<()> {
    let hierarchy = Hierarchy::detect()?;
    let file = match hierarchy.version {
        Version::V1 => "memory.oom_control",
        // Without those of its descendants.
        Version::V2 => "memory.events.local",
    };
    let mut out = io::stdout();
    let mut known: HashMap<PathBuf, u64> = HashMap::new();
    let mut first = true;
    loop {
        let mut now = HashMap::new();
        read(&hierarchy.root, file, DEPTH, &mut now);
        for (directory, kills) in &now {
            let before = known.get(directory).copied().unwrap_or(0);
            let path = directory.strip_prefix(&hierarchy.root).unwrap_or(directory);
            for _ in before..*kills {
                if !first {
                    writeln!(out, "{}", hierarchy.mounted.join(path).display())?;
                }
            }
        }
        known = now;
        if std::mem::take(&mut first) {
            writeln!(out, "polling")?;
        }
        thread::sleep(PAUSE);
    }
}

fn read(directory: &Path, file: &str, depth: u32, into: &mut HashMap<PathBuf, u64>) {
    if let Ok(text) = fs::read_to_string(directory.join(file)) {
        into.insert(directory.to_owned(), oom_kills(&text));
    }
    // Cgroups come and go while this looks.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            read(&entry.path(), file, depth - 1, into);
        }
    }
}

fn oom_kills(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_both_versions_of_the_file() {
        assert_eq!(
            oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            3
        );
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 9\noom 4\noom_kill 2\n"), 2);
        assert_eq!(oom_kills(""), 0);
    }
}
