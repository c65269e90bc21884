//! A victim of which the kernel told no more than a thread id, from `/proc`.
//!
//! A race by nature: what is gone when it is read is absent, and the kill says where the rest is
//! from. Only for a `/proc` of the initial PID namespace.

mod parse;

use std::fs;
use std::path::Path;

use bytemuck::Zeroable;
use oom_probe_common::record::{Body, Header, Level, flag, kind, valid};

use crate::{record::encode, sys::procfs};
use parse::{Hierarchy, REMOVED, Sizes, Status};

/// The files of one process as they were read; absent where they could not be.
#[derive(Debug, Default)]
pub struct Files {
    cgroup: Option<Vec<u8>>,
    status: Option<Vec<u8>>,
    oom_score_adj: Option<Vec<u8>>,
    pid_ns: Option<String>,
    /// `stat` of the group's leader, for its start time.
    leader_stat: Option<Vec<u8>>,
}

impl Files {
    /// Reads what is there of a thread, the most fleeting first.
    #[must_use]
    pub fn read(proc_root: &Path, tid: u32) -> Self {
        let task = proc_root.join(tid.to_string());
        let read = |name| procfs::read(&task.join(name)).ok();
        let (cgroup, status) = (read("cgroup"), read("status"));
        let tgid = status.as_deref().and_then(|text| Status::parse(text).tgid);
        let leader = proc_root.join(tgid.unwrap_or(tid).to_string());
        Self {
            cgroup,
            status,
            oom_score_adj: read("oom_score_adj"),
            pid_ns: fs::read_link(task.join("ns/pid"))
                .ok()
                .and_then(|link| link.into_os_string().into_string().ok()),
            leader_stat: procfs::read(&leader.join("stat")).ok(),
        }
    }
}

/// Units in which `/proc` counts.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// Bytes of a page.
    pub page_size: u64,
    /// Clock ticks of a second: `sysconf(_SC_CLK_TCK)`.
    pub ticks: u64,
}

/// The record of a victim as `/proc` has it. `id_of` gives the id of a cgroup by its names, leaf
/// first, or 0. Of a process that was started after the mark nothing is taken: its id was used
/// again.
#[must_use]
pub fn record(
    mark: Header,
    tid: u32,
    files: &Files,
    units: Units,
    id_of: impl Fn(&[&[u8]]) -> u64,
) -> Vec<u8> {
    let header = Header {
        kind: kind::MARK,
        ..mark
    };
    let mut body = Body::zeroed();
    // Of its own trigger the process is known; else the thread id stands for it.
    let itself = tid == mark.current_tid;
    body.victim.tgid = if itself { mark.current_tgid } else { tid };
    body.victim.tid = tid;
    body.valid = valid::IDS;
    let start = files
        .leader_stat
        .as_deref()
        .and_then(parse::start_ticks)
        .map(|ticks| (u128::from(ticks) * 1_000_000_000 / u128::from(units.ticks.max(1))) as u64);
    if start.is_some_and(|start| start > mark.time_ns) {
        return encode::task(header, body, [&[]; 3]);
    }
    if let Some(start) = start {
        body.victim.start_time_ns = start;
        body.valid |= valid::START_TIME;
    }
    if let Some(text) = &files.status {
        let pid_ns = files.pid_ns.as_deref().and_then(parse::namespace);
        fill_status(&mut body, &Status::parse(text), pid_ns, units.page_size);
    }
    if let Some(adj) = files.oom_score_adj.as_deref().and_then(parse::number) {
        body.victim.oom_score_adj = adj;
        body.valid |= valid::OOM_SCORE_ADJ;
    }
    let cgroup = files.cgroup.as_deref().and_then(parse::memory_cgroup);
    let Some((hierarchy, path)) = cgroup else {
        return encode::task(header, body, [&[]; 3]);
    };
    body.valid |= valid::HIERARCHY;
    if hierarchy == Hierarchy::V2 {
        body.flags |= flag::V2;
    }
    let names = names(path, &id_of);
    let levels: Vec<_> = (0..names.len())
        .map(|n| {
            // Nothing is known of the level's memory.
            let mut level = Level::zeroed();
            level.id = id_of(&names[n..names.len() - 1]);
            (level, names[n].to_vec())
        })
        .collect();
    let unit: Vec<_> = unit_names(files, hierarchy)
        .into_iter()
        .map(|name| (Level::zeroed(), name.to_vec()))
        .collect();
    encode::task(header, body, [&levels, &[], &unit])
}

/// The names of the path that systemd has for its unit on cgroup v1, leaf first.
fn unit_names(files: &Files, hierarchy: Hierarchy) -> Vec<&[u8]> {
    let path = files.cgroup.as_deref().and_then(parse::unit_cgroup);
    match (hierarchy, path) {
        (Hierarchy::V1, Some(path)) => path.rsplit(|&byte| byte == b'/').collect(),
        _ => Vec::new(),
    }
}

/// The names of a path of `/proc`, leaf first, the root's as "". A cgroup that is there has the name
/// that is shown; one that is gone has it without [`REMOVED`].
fn names<'a>(path: &'a [u8], id_of: &impl Fn(&[&[u8]]) -> u64) -> Vec<&'a [u8]> {
    let mut names: Vec<_> = path.rsplit(|&byte| byte == b'/').collect();
    if path == b"/" {
        names.pop();
    }
    if let Some(leaf) = names.first()
        && let Some(leaf) = leaf.strip_suffix(REMOVED)
        && id_of(&names[..names.len() - 1]) == 0
    {
        names[0] = leaf;
    }
    names
}

fn fill_status(body: &mut Body, status: &Status, pid_ns: Option<u32>, page_size: u64) {
    let victim = &mut body.victim;
    if let Some(tgid) = status.tgid {
        victim.tgid = tgid;
    }
    if let Some(name) = &status.name {
        let len = name.len().min(victim.comm.len() - 1);
        victim.comm[..len].copy_from_slice(&name[..len]);
        body.valid |= valid::COMM;
    }
    if let Some(uid) = status.uid {
        victim.uid = uid;
        body.valid |= valid::UID;
    }
    if let (Some((level, ns_pid)), Some(inum)) = (status.ns_pid, pid_ns) {
        (victim.pid_ns_level, victim.ns_pid) = (level, ns_pid);
        victim.pid_ns_inum = inum;
        body.valid |= valid::PID_NS;
    }
    // Gone together with the mm.
    if let Some(sizes) = status.sizes {
        let pages = |kib: u64| kib.saturating_mul(1024) / page_size.max(1);
        let Sizes {
            total,
            anon,
            file,
            shmem,
            swap,
            pgtables,
        } = sizes;
        victim.total_vm = pages(total);
        victim.rss = [file, anon, swap, shmem].map(|kib| pages(kib) as i64);
        victim.pgtables_bytes = pgtables.saturating_mul(1024);
        body.valid |= valid::TOTAL_VM | valid::RSS | valid::PGTABLES;
    }
}

#[cfg(test)]
mod tests;
