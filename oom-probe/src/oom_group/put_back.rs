//! `--put-back`: every value on this node becomes what it was, for when the daemon is taken away.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{
    annotation::Setting,
    cgroup_kind::{CgroupKind, children, walk},
    file,
};
use crate::cgroup::{hierarchy::MemoryRoot, kubepods::Kubepods};

/// Puts back what is noted in the cgroups of all containers, and says so.
///
/// # Errors
/// A cgroup that is still there cannot be written to.
pub(super) fn run(root: &MemoryRoot) -> anyhow::Result<ExitCode> {
    let mut count = 0;
    for cgroup in containers(&root.path) {
        match put_back(&cgroup) {
            Ok(None) => {}
            Ok(Some(setting)) => {
                tracing::info!("{}: {setting}, as before", file::shown(&cgroup));
                count += 1;
            }
            Err(_) if !cgroup.is_dir() => {}
            Err(error) => {
                anyhow::bail!("cannot put back {}: {error}", file::shown(&cgroup))
            }
        }
    }
    tracing::info!("{count} cgroups put back");
    Ok(ExitCode::SUCCESS)
}

/// The cgroups of all containers of pods, those inside included.
fn containers(root: &Path) -> Vec<PathBuf> {
    let mut waiting: Vec<PathBuf> = walk(root, root, &Kubepods::anywhere())
        .into_iter()
        .filter(|found| matches!(found.place, CgroupKind::Container(..)))
        .map(|found| found.path)
        .collect();
    let mut all = Vec::new();
    while let Some(cgroup) = waiting.pop() {
        waiting.extend(children(&cgroup));
        all.push(cgroup);
    }
    all
}

/// The value that was put back, if one is noted.
fn put_back(cgroup: &Path) -> io::Result<Option<Setting>> {
    let Some(original) = file::original(cgroup)? else {
        return Ok(None);
    };
    file::write(cgroup, original)?;
    file::forget(cgroup)?;
    Ok(Some(original))
}
