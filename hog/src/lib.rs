//! What the hog binary shares with the tests that watch it die: cgroups with limits, and units.
//!
//! The modes themselves live in the binary; see `hog --list`.

#![cfg(target_os = "linux")]

pub mod cgroup;
pub mod units;
