//! Kills for tests, as the assembler makes them.

use crate::{
    cgroup::path,
    model::{
        kill::{Cgroup, Kill, Record, Victim},
        labels::VictimKind,
    },
    sinks::fixture::pod_child,
};

/// A kill in the cgroup of that path; its ids are 100 for the leaf and one more for each level up.
pub(crate) fn kill_in(path: &str) -> Kill {
    let Record { kill, .. } = pod_child();
    let levels = path.split('/').filter(|name| !name.is_empty()).count();
    Kill {
        identity: path::from_path(path.as_bytes()),
        cgroup_ids: (0..=levels as u64).map(|level| 100 + level).collect(),
        cgroup: Some(Cgroup {
            path: Some(path.parse().expect("a path")),
            ..kill.cgroup.clone().expect("the fixture has one")
        }),
        victim: Victim {
            kind: VictimKind::Unknown,
            ..kill.victim.clone()
        },
        ..kill
    }
}
