//! oom-probe sees every OOM kill on a node and names its pod, container and workload.
//!
//! The modules are layers: each uses only those listed below it. Below all of them is the crate
//! `capture`, the kernel side, which is usable without the rest.

pub mod commands; // The command line: one subcommand each.
pub mod oom_group; // The second daemon: keeps memory.oom.group as pods' annotations ask.
pub mod daemon; // Wires the parts of `oom-probe run`: start, liveness, shutdown.
pub mod pipeline; // One kill's way: read, attribute, keep, publish, release.
pub mod service; // What both daemons need: runtime, diagnostics, signals, a bounded end.
pub mod http; // The server and its routes.
pub mod sinks; // Metrics, log, history, Kubernetes Events.
pub mod journal; // What survives a restart.
pub mod attribution; // Whose a kill is, and what became of the container.
pub mod kube; // The pods of this node.

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz; // Entry points of the fuzz targets.
