//! What the kernel programs could not tell on the lower rungs, from user space.

pub mod names;
pub mod proc;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oom_probe_common::record::Target;

use crate::{
    cgroup::{
        hierarchy::MemoryRoot,
        ids::{CgroupNames, id_of},
    },
    plan::{Mark, MarkHook, Names},
    record::{Payload, Record},
};
use proc::{Files, Units};

/// Cgroups whose names are remembered: more than a node has.
const CAPACITY: usize = 16 * 1024;
/// How often cgroups are looked at that nobody was killed in, so that their names are known once
/// they are gone.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The inode number of the root of every cgroup hierarchy (fs/kernfs/mount.c).
const HIERARCHY_ROOT: u64 = 1;

/// Completes records.
#[derive(Debug)]
pub struct Complete(Lacking);

#[derive(Debug)]
enum Lacking {
    Nothing,
    Names {
        known: Box<CgroupNames>,
        looked: Instant,
    },
    AllButTid {
        proc_root: PathBuf,
        units: Units,
        /// The root of the hierarchy, where it is to be seen: paths of `/proc` begin there.
        cgroups: Option<MemoryRoot>,
    },
}

impl Complete {
    /// What the records of that hook lack. Without `cgroups` they stay without names or ids.
    #[must_use]
    pub fn new(mark: Mark, cgroups: Option<MemoryRoot>, proc_root: &Path) -> Self {
        Self(match mark.hook {
            MarkHook::TpBtf(Names::Skipped) | MarkHook::SignalTpBtf(Names::Skipped) => {
                Self::names(cgroups)
            }
            MarkHook::Tracepoint { .. } => Lacking::AllButTid {
                proc_root: proc_root.into(),
                units: Units {
                    page_size: rustix::param::page_size() as u64,
                    ticks: rustix::param::clock_ticks_per_second(),
                },
                cgroups: cgroups
                    .filter(|root| id_of(&root.path).is_ok_and(|id| id == HIERARCHY_ROOT)),
            },
            _ => Lacking::Nothing,
        })
    }

    fn names(cgroups: Option<MemoryRoot>) -> Lacking {
        let known = cgroups.and_then(|root| {
            let path = root.path.clone();
            CgroupNames::read(root, CAPACITY)
                .inspect_err(|error| {
                    tracing::warn!(
                        "kills stay without names of cgroups: cannot look at {}: {error}; \
                         pass --cgroup-root",
                        path.display()
                    );
                })
                .ok()
        });
        match known {
            Some(known) => Lacking::Names {
                known: known.into(),
                looked: Instant::now(),
            },
            None => Lacking::Nothing,
        }
    }

    /// The bytes of the record with what it lacked; `None` where it is as good as it gets.
    pub fn record(&mut self, record: &Record<'_>) -> Option<Vec<u8>> {
        match (&mut self.0, record.payload) {
            (Lacking::Names { known, .. }, _) => names::named(record, |ids| {
                let names = known.names(ids)?;
                Some(
                    names
                        .into_iter()
                        .map(|name| name.map(<[u8]>::to_vec))
                        .collect(),
                )
            }),
            (
                Lacking::AllButTid {
                    proc_root,
                    units,
                    cgroups,
                },
                Payload::MarkTid(Target { tid, .. }),
            ) => {
                let files = Files::read(proc_root, tid);
                let id_of = |names: &[&[u8]]| {
                    let directory = cgroups.as_ref()?.directory(names.iter().copied())?;
                    id_of(&directory).ok()
                };
                Some(proc::record(record.header, tid, &files, *units, |names| {
                    id_of(names).unwrap_or(0)
                }))
            }
            _ => None,
        }
    }

    /// Looks for new cgroups if the last look is long ago.
    pub fn look_around(&mut self, now: Instant) {
        if let Lacking::Names { known, looked } = &mut self.0
            && now.duration_since(*looked) >= LOOK_EVERY
        {
            *looked = now;
            known.look_around();
        }
    }
}
