//! Nothing stays of a bench, however it ends: no process, no cgroup, no setting.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::id;

use anyhow::{Context as _, Result};
use hog::cgroup::{Hierarchy, Version, remove_tree};
use hog::guard;

use super::share;
use super::sysctl::Sysctl;

/// What the names of its cgroups begin with.
pub(super) fn name() -> String {
    format!("oom-probe-bench-{}", id())
}

/// Has what this bench starts, makes and sets cleared up at its end.
///
/// # Errors
/// The kernel refuses.
pub(super) fn leave_nothing_behind() -> Result<()> {
    let name = name();
    let hierarchy = Hierarchy::detect()?;
    let settings = Sysctl::as_they_are()?;
    let clear = || {
        drop(settings);
        let roots = [Some(hierarchy.root), share::root(hierarchy.version)];
        for root in roots.into_iter().flatten() {
            sweep(hierarchy.version, &root, &name);
        }
    };
    // SAFETY: nothing is measured yet, and xtask's main makes no thread.
    unsafe { guard::stand(&name, clear) }.context("no guard")
}

fn sweep(version: Version, root: &Path, name: &str) {
    for directory in ours(root, name) {
        if let Err(error) = remove_tree(version, &directory) {
            guard::tell(&error.to_string());
        }
    }
}

fn ours(root: &Path, name: &str) -> Vec<PathBuf> {
    let is_ours = |path: &PathBuf| {
        let rest = path
            .file_name()
            .and_then(|file| file.to_str()?.strip_prefix(name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_of_another_process_are_not_ours() {
        let root = tempfile::tempdir().unwrap();
        for name in ["bench-12", "bench-12-hogs-0", "bench-123", "bench-1"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let mut found = ours(root.path(), "bench-12");
        found.sort();
        let expected = ["bench-12", "bench-12-hogs-0"];
        assert_eq!(found, expected.map(|name| root.path().join(name)));
    }
}
