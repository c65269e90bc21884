//! oom-probe sees every OOM kill on a node and names its pod, container and workload.
//!
//! One kill's way leads through the modules in this order: `kernel` (hooks, ring, decoding),
//! `event` (assembling), `attribute` (whose it is), `sinks` (metrics, log, history, Events).

pub mod attribute;
pub mod cgroup;
pub mod cli;
pub mod cluster;
pub mod daemon;
pub mod doctor;
pub mod escape;
pub mod event;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod http;
pub mod kernel;
pub mod kill;
pub mod kills;
pub mod labels;
pub mod memory;
pub mod mount_bpffs;
pub mod oom_group;
pub mod oom_score_adj;
pub mod outcome;
pub mod pipeline;
pub mod pods;
pub mod privileges;
pub mod procfs;
pub mod sinks;
pub mod state;
pub mod unpin;
