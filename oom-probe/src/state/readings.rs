//! What the cgroups of containers themselves have counted.

use serde::{Deserialize, Serialize};

/// The counters of every container's cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings(pub Vec<Reading>);

/// The counters of one cgroup, without the cgroups below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Inode number of its directory.
    pub id: u64,
    /// Processes killed, but the first of a group kill counts twice.
    pub kills: u64,
    /// Group kills.
    pub groups: u64,
    /// When it was read, ns of `CLOCK_BOOTTIME`.
    pub at_ns: u64,
}
