//! Records put together in user space: the other direction of [`decode`](crate::record).

use std::borrow::Cow;

use bytemuck::{Zeroable, bytes_of};
use oom_probe_common::record::{
    Body, Header, LEAF_LEVELS, Level, MAX_LEVELS, NAME_MAX, ROOT_LEVELS,
};

/// A level of a cgroup path with its name; empty for the root.
pub type NamedLevel = (Level, Vec<u8>);

/// The bytes of a record of a task: `header` with the length they come to, `body` with the numbers
/// of levels, then the paths of the victim, its trigger and its unit, leaf first. Of a path with more levels than a record may have those
/// between its ends are left out, as the kernel programs do it.
#[must_use]
pub fn task(header: Header, mut body: Body, paths: [&[NamedLevel]; 3]) -> Vec<u8> {
    let paths = paths.map(bounded);
    let [path, trigger_path, unit_path] = &paths;
    body.levels = path.len() as u16;
    body.trigger_levels = trigger_path.len() as u16;
    body.unit_levels = unit_path.len() as u16;
    let mut payload = bytes_of(&body).to_vec();
    for (level, name) in paths.iter().flat_map(|path| path.iter()) {
        let name = &name[..name.len().min(NAME_MAX)];
        let level = Level {
            name_len: name.len() as u16,
            ..*level
        };
        payload.extend_from_slice(bytes_of(&level));
        payload.extend_from_slice(name);
        payload.resize(payload.len().next_multiple_of(8), 0);
    }
    record(header, &payload)
}

/// The bytes of any record.
#[must_use]
pub fn record(mut header: Header, payload: &[u8]) -> Vec<u8> {
    header.len = (size_of::<Header>() + payload.len()) as u32;
    [bytes_of(&header), payload].concat()
}

fn bounded(path: &[NamedLevel]) -> Cow<'_, [NamedLevel]> {
    if path.len() <= MAX_LEVELS {
        return path.into();
    }
    let root = path.len() - ROOT_LEVELS;
    let left_out = Level {
        skipped: (root - LEAF_LEVELS) as u32,
        ..Level::zeroed()
    };
    let mut ends = path[..LEAF_LEVELS].to_vec();
    ends.push((left_out, Vec::new()));
    ends.extend_from_slice(&path[root..]);
    ends.into()
}
