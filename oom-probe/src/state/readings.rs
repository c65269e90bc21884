//! What the cgroups of containers themselves have counted, for finding kills of a time in which
//! nothing was hooked.
//!
//! The kernel counts each victim in its own cgroup: `memory.events.local` on v2, `memory.oom_control`
//! on v1. What has come to that since it was read last, and was not seen by a hook, was missed.

use std::{collections::HashMap, fs, os::unix::ffi::OsStringExt};

use serde::{Deserialize, Serialize};

use crate::{
    cgroup::{
        container::ContainerId,
        files,
        hierarchy::MemoryRoot,
        ids::id_of,
        path::{Identity, path_from_levels},
    },
    kernel::takeover::boottime_ns,
};

/// Cgroups that are looked at: more than a node has.
const MAX_CGROUPS: usize = 64 * 1024;

/// The counters of containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings(pub Vec<Reading>);

/// The counters of one container: those of its cgroup and of all below together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The container.
    pub container: ContainerId,
    /// Processes killed, but the first of a group kill counts twice
    /// (`mm/oom_kill.c`, `__oom_kill_process`).
    pub kills: u64,
    /// Group kills; always 0 on v1 and before 5.17.
    pub groups: u64,
    /// When they were read, ns of `CLOCK_BOOTTIME`.
    pub at_ns: u64,
}

/// A container as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// What it has counted.
    pub reading: Reading,
    /// The names of its cgroup below the node's root, leaf first.
    pub names: Vec<Vec<u8>>,
}

/// Kills that a container's own counters tell and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// How many.
    pub kills: u64,
    /// Where, and when that was seen.
    pub counters: Counters,
}

impl Reading {
    /// Processes killed, as far as the kernel counts them once.
    const fn killed(&self) -> u64 {
        self.kills.saturating_sub(self.groups)
    }
}

impl Readings {
    /// As if these kills had been counted when the containers were read, by container and time:
    /// for keeping what was read while it is compared.
    #[must_use]
    pub fn with(&self, kills: &[(ContainerId, u64)]) -> Self {
        let mut readings = self.0.clone();
        for reading in &mut readings {
            reading.kills += count(kills, reading.container, reading.at_ns..=u64::MAX);
        }
        Self(readings)
    }

    /// The kills that happened since and were not seen. `seen` are those that were, by container
    /// and time. A container that was not read then has been made since.
    #[must_use]
    pub fn missed(&self, seen: &[(ContainerId, u64)], now: Vec<Counters>) -> Vec<Missed> {
        let before: HashMap<_, _> = self.0.iter().map(|old| (old.container, old)).collect();
        let missed = now.into_iter().filter_map(|counters| {
            let Reading {
                container, at_ns, ..
            } = counters.reading;
            let (killed, since) = before
                .get(&container)
                .map_or((0, 0), |old| (old.killed(), old.at_ns));
            let growth = counters.reading.killed().saturating_sub(killed);
            let kills = growth.saturating_sub(count(seen, container, since..=at_ns));
            (kills > 0).then_some(Missed { kills, counters })
        });
        missed.collect()
    }
}

fn count(
    kills: &[(ContainerId, u64)],
    container: ContainerId,
    times: std::ops::RangeInclusive<u64>,
) -> u64 {
    let of = |kill: &&(ContainerId, u64)| kill.0 == container && times.contains(&kill.1);
    kills.iter().filter(of).count() as u64
}

impl Counters {
    /// The path of the container's cgroup, escaped, below the node's root.
    #[must_use]
    pub fn path(&self) -> String {
        path_from_levels(self.names.iter().map(Vec::as_slice))
    }

    /// The ids of the cgroups from the container's to the node's root, as far as they are there.
    #[must_use]
    pub fn ids(&self, root: &MemoryRoot) -> Vec<u64> {
        let levels = 0..=self.names.len();
        let directory = |level: usize| {
            let names = self.names[level..].iter().map(Vec::as_slice);
            root.directory(names)
        };
        levels
            .filter_map(|level| id_of(&directory(level)?).ok())
            .collect()
    }
}

/// Reads the counters of every container below a root.
#[must_use]
pub fn read(root: &MemoryRoot) -> Vec<Counters> {
    let mut containers: HashMap<ContainerId, Counters> = HashMap::new();
    let mut waiting = vec![Vec::<Vec<u8>>::new()];
    let mut looked_at = 0;
    while let Some(names) = waiting.pop() {
        looked_at += 1;
        let leaf_first = || names.iter().map(Vec::as_slice);
        let Some(directory) = root.directory(leaf_first()) else {
            continue;
        };
        let identity = Identity::parse(leaf_first());
        if let Some(container) = identity.container
            && let Ok(events) = files::events(root.hierarchy, &directory)
        {
            let level = identity.container_level.unwrap_or(0);
            let at = containers.entry(container).or_insert_with(|| Counters {
                reading: Reading {
                    container,
                    kills: 0,
                    groups: 0,
                    at_ns: 0,
                },
                names: names[level..].to_vec(),
            });
            at.reading.kills += events.oom_kill.unwrap_or(0);
            at.reading.groups += events.oom_group_kill.unwrap_or(0);
            at.reading.at_ns = boottime_ns();
        }
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if looked_at + waiting.len() < MAX_CGROUPS
                && entry.file_type().is_ok_and(|kind| kind.is_dir())
            {
                let mut below = vec![entry.file_name().into_vec()];
                below.extend_from_slice(&names);
                waiting.push(below);
            }
        }
    }
    containers.into_values().collect()
}

/// The counters alone, for the state.
#[must_use]
pub fn readings(root: &MemoryRoot) -> Readings {
    let counters = read(root).into_iter();
    Readings(counters.map(|at| at.reading).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::Hierarchy;

    fn id(digit: char) -> ContainerId {
        digit.to_string().repeat(64).parse().unwrap()
    }

    fn reading(digit: char, kills: u64, groups: u64, at_ns: u64) -> Reading {
        Reading {
            container: id(digit),
            kills,
            groups,
            at_ns,
        }
    }

    fn now(kills: u64, groups: u64) -> Vec<Counters> {
        vec![Counters {
            reading: reading('a', kills, groups, 200),
            names: Vec::new(),
        }]
    }

    #[test]
    fn what_grew_and_was_not_seen_was_missed() {
        let before = Readings(vec![reading('a', 5, 1, 100)]);
        for (what, seen, kills, groups, missed) in [
            ("nothing", &[][..], 5, 1, 0),
            ("one", &[], 6, 1, 1),
            (
                "a group of three, the first of which counts twice",
                &[],
                9,
                2,
                3,
            ),
            ("one that was seen", &[('a', 150)], 6, 1, 0),
            ("one of two", &[('a', 150)], 7, 1, 1),
            (
                "one that was seen before the reading",
                &[('a', 99)],
                6,
                1,
                1,
            ),
            ("one that was seen after it", &[('a', 201)], 6, 1, 1),
            ("another container's", &[('b', 150)], 6, 1, 1),
            ("counters that went back", &[], 0, 0, 0),
        ] {
            let seen: Vec<_> = seen.iter().map(|&(digit, at)| (id(digit), at)).collect();
            let found = before.missed(&seen, now(kills, groups));
            let found: u64 = found.iter().map(|missed| missed.kills).sum();
            assert_eq!(found, missed, "{what}");
        }
    }

    #[test]
    fn a_container_that_was_not_read_has_been_made_since() {
        let found = Readings::default().missed(&[], now(2, 0));
        assert_eq!(found[0].kills, 2);
    }

    #[test]
    fn kills_that_were_counted_are_as_good_as_read() {
        let before = Readings(vec![reading('a', 5, 0, 100)]);
        let seen = [(id('a'), 150), (id('a'), 50)];
        assert_eq!(before.with(&seen).0, [reading('a', 6, 0, 100)]);
    }

    #[test]
    fn the_cgroups_of_a_container_count_together() {
        let directory = tempfile::tempdir().unwrap();
        let pod = format!(
            "kubepods/pod6a1c1f1e-0f9a-4d7a-9a50-3a6c8f8b1c2d/{}",
            id('a')
        );
        for (path, events) in [
            ("system.slice/nginx.service", "oom_kill 9\n"),
            (&*pod, "oom_kill 2\noom_group_kill 1\n"),
            (&*format!("{pod}/worker"), "oom_kill 3\noom_group_kill 0\n"),
        ] {
            let cgroup = directory.path().join(path);
            fs::create_dir_all(&cgroup).unwrap();
            fs::write(cgroup.join("memory.events.local"), events).unwrap();
        }
        let root = MemoryRoot {
            hierarchy: Hierarchy::V2,
            path: directory.path().into(),
        };
        let found = read(&root);
        assert_eq!(found.len(), 1);
        let Reading { kills, groups, .. } = found[0].reading;
        assert_eq!((kills, groups), (5, 1));
        assert_eq!(found[0].path(), format!("/{pod}"));
        assert_eq!(found[0].ids(&root).len(), 4);
    }
}
