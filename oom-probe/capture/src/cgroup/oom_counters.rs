//! What cgroups themselves have counted, for finding kills of a time in which nothing was hooked.
//!
//! The kernel counts each victim in its own cgroup: `memory.events.local` on v2, `memory.oom_control`
//! on v1. What has come to that since it was read last, and was not seen by a hook, was missed.
//!
//! A container's cgroups count together. Outside containers each cgroup counts by itself.

use std::{collections::HashMap, iter, os::unix::ffi::OsStrExt};

use serde::{Deserialize, Serialize};

use crate::{
    cgroup::{
        files::{self, FileError},
        hierarchy::MemoryRoot,
        ids::id_of,
        path,
        walk::Walk,
    },
    model::{
        cgroup_path::CgroupPath, container::ContainerId, identity::Identity, kill::Kill,
        labels::Role,
    },
    sys::clock::boottime_ns,
};

/// Cgroups that are looked at: more than a node has.
const MAX_CGROUPS: usize = 64 * 1024;

/// The counters at one time.
///
/// A cgroup outside containers that has counted nothing is left out, but for the root: where that
/// is missing, cgroups outside containers were not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings(pub Vec<Reading>);

/// Whose counters they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A container's: those of its cgroup and of all below together.
    Container(ContainerId),
    /// Those of one cgroup, which has this id. An id is not given twice in a boot.
    Cgroup(u64),
}

/// The counters of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Whose.
    #[serde(flatten)]
    pub owner: Owner,
    /// Processes killed, but the first of a group kill counts twice
    /// (`mm/oom_kill.c`, `__oom_kill_process`).
    pub kills: u64,
    /// Group kills; always 0 on v1 and before 5.17.
    pub groups: u64,
    /// When they were read, ns of `CLOCK_BOOTTIME`.
    pub at_ns: u64,
}

/// An owner of counters as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// What it has counted.
    pub reading: Reading,
    /// The names of its cgroup below the node's root, leaf first.
    pub names: Vec<Vec<u8>>,
}

/// All counters as they are now.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Those of each owner.
    pub counters: Vec<Counters>,
    /// The owner of each cgroup that has counters, by its id.
    owners: HashMap<u64, Owner>,
    /// Whether every cgroup was looked at.
    complete: bool,
}

/// A kill that a hook saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    container: Option<ContainerId>,
    /// The victim's cgroup and those above, leaf first.
    cgroups: Vec<u64>,
    at_ns: u64,
}

/// Kills that counters tell and nothing else.
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

impl Seen {
    /// What is to be known of that kill; `None` for one that the kernel does not count, of a
    /// process that only shares its memory with the victim.
    #[must_use]
    pub fn of(kill: &Kill) -> Option<Self> {
        (kill.role != Role::SharedMm).then(|| Self {
            container: kill.identity.container,
            cgroups: kill.cgroup_ids.clone(),
            at_ns: kill.boottime_ns,
        })
    }
}

impl Readings {
    /// As if these kills had been counted when the counters were read: for keeping what was read
    /// while it is compared.
    #[must_use]
    pub fn with(&self, seen: &[Seen], now: &Now) -> Self {
        let mut readings = self.0.clone();
        let mut kills = now.by_owner(seen);
        for reading in &mut readings {
            let times = kills.remove(&reading.owner).unwrap_or_default();
            reading.kills += count(&times, reading.at_ns..=u64::MAX);
        }
        // Those that had counted nothing then.
        let first = kills.into_iter().map(|(owner, times)| Reading {
            owner,
            kills: times.len() as u64,
            groups: 0,
            // Later than each of them, so that none is taken off a second time.
            at_ns: times.into_iter().max().map_or(0, |last| last + 1),
        });
        readings.extend(first);
        Self(readings)
    }

    /// The kills that happened since and were not seen. An owner that was not read then has been
    /// made since, or had counted nothing.
    #[must_use]
    pub fn missed(&self, seen: &[Seen], now: Now) -> Vec<Missed> {
        let before: HashMap<_, _> = self.0.iter().map(|old| (old.owner, old)).collect();
        let is_of_cgroup = |owner: &Owner| matches!(owner, Owner::Cgroup(_));
        let everywhere = before.keys().any(is_of_cgroup);
        let seen = now.by_owner(seen);
        let missed = now.counters.into_iter().filter_map(|counters| {
            let Reading { owner, at_ns, .. } = counters.reading;
            if is_of_cgroup(&owner) && !everywhere {
                return None;
            }
            let (killed, since) = before
                .get(&owner)
                .map_or((0, 0), |old| (old.killed(), old.at_ns));
            let growth = counters.reading.killed().saturating_sub(killed);
            let seen = seen
                .get(&owner)
                .map_or(0, |times| count(times, since..=at_ns));
            let kills = growth.saturating_sub(seen);
            (kills > 0).then_some(Missed { kills, counters })
        });
        missed.collect()
    }
}

fn count(times: &[u64], within: std::ops::RangeInclusive<u64>) -> u64 {
    times.iter().filter(|time| within.contains(time)).count() as u64
}

impl Now {
    /// The times of these kills by who has counted them: on v2 the memory controller may begin
    /// above the victim's own cgroup.
    fn by_owner(&self, seen: &[Seen]) -> HashMap<Owner, Vec<u64>> {
        let mut all: HashMap<_, Vec<u64>> = HashMap::new();
        for Seen {
            container,
            cgroups,
            at_ns,
        } in seen
        {
            let nearest = cgroups.iter().find_map(|id| self.owners.get(id)).copied();
            if let Some(owner) = nearest.or(container.map(Owner::Container)) {
                all.entry(owner).or_default().push(*at_ns);
            }
        }
        all
    }

    /// What of them has to be kept.
    fn readings(self, root: &MemoryRoot) -> Readings {
        let Self {
            counters, complete, ..
        } = self;
        let mut readings: Vec<_> = counters.into_iter().map(|at| at.reading).collect();
        readings.retain(|reading| match reading.owner {
            Owner::Container(_) => true,
            Owner::Cgroup(_) => complete && reading.kills > 0,
        });
        let root = id_of(&root.path).map(Owner::Cgroup);
        if complete
            && let Ok(owner) = root
            && !readings.iter().any(|reading| reading.owner == owner)
        {
            readings.push(Reading {
                owner,
                kills: 0,
                groups: 0,
                at_ns: boottime_ns(),
            });
        }
        Readings(readings)
    }
}

impl Counters {
    /// The path of its cgroup below the node's root.
    #[must_use]
    pub fn path(&self) -> CgroupPath {
        CgroupPath::from_levels(self.names.iter().map(Vec::as_slice))
    }

    /// The ids of the cgroups from its own to the node's root, as far as they are there.
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

/// Reads the counters of every cgroup below a root, and its own.
#[must_use]
pub fn read(root: &MemoryRoot) -> Now {
    let mut containers: HashMap<Owner, Counters> = HashMap::new();
    let mut owners = HashMap::new();
    let mut complete = true;
    let below = Walk::below(&root.path, MAX_CGROUPS - 1);
    for directory in iter::once(Ok(root.path.clone())).chain(below) {
        let directory = match directory {
            Ok(directory) => directory,
            Err(FileError::TooMany { .. }) => {
                complete = false;
                break;
            }
            Err(_) => continue,
        };
        if let Ok(events) = files::events(root.hierarchy, &directory)
            && let Ok(id) = id_of(&directory)
            && let Ok(below_root) = directory.strip_prefix(&root.path)
        {
            let leaf_first = below_root.components().rev();
            let names: Vec<_> = leaf_first
                .map(|name| name.as_os_str().as_bytes().to_vec())
                .collect();
            let Identity {
                container,
                container_level,
                ..
            } = path::parse(names.iter().map(Vec::as_slice));
            let level = container.and(container_level).unwrap_or(0);
            let owner = container.map_or(Owner::Cgroup(id), Owner::Container);
            owners.insert(id, owner);
            let at = containers.entry(owner).or_insert_with(|| Counters {
                reading: Reading {
                    owner,
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
    }
    Now {
        counters: containers.into_values().collect(),
        owners,
        complete,
    }
}

/// The counters alone, for the state.
#[must_use]
pub fn readings(root: &MemoryRoot) -> Readings {
    read(root).readings(root)
}

#[cfg(test)]
mod tests;
