//! Where the threads of a scenario that does not end are.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// This process and all below it, thread by thread: state, what the kernel has it wait for, and the
/// kernel's stack where it shows that.
pub(crate) fn threads() -> String {
    let parents: Vec<(u32, u32)> = numbers_in(Path::new("/proc"))
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut text = String::new();
    for pid in family(std::process::id(), &parents) {
        let tasks = Path::new("/proc").join(pid.to_string()).join("task");
        for tid in numbers_in(&tasks) {
            let task = tasks.join(tid.to_string());
            let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
            let (comm, status) = (read("comm"), read("status"));
            let _ = writeln!(
                text,
                "{pid}/{tid} {} {} wchan {} syscall {}",
                comm.trim_end(),
                field(&status, "State:").unwrap_or("gone"),
                read("wchan"),
                read("syscall").trim_end(),
            );
            for line in read("stack").lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    text
}

/// The process and its descendants.
fn family(head: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut family = vec![head];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        family.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

fn numbers_in(directory: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "PPid:")?.parse().ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim())
}
