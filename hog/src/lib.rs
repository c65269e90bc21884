//! What the hog binary shares with the tests that watch it die and with `cargo xtask hog`: cgroups
//! with limits, a guard that clears up after them, a program held in memory, scenarios, and units.
//!
//! The modes themselves live in the binary; see `hog --list`.

#![cfg(target_os = "linux")]

pub mod cgroup;
pub mod guard;
pub mod resident;
pub mod scenario;
pub mod units;
