//! Every integration test but the real kills: one program, so that the crate is linked once.

mod apiserver;
mod build_plan;
mod cgroup_files;
mod cgroup_path;
mod deploy;
mod kernel;
mod kubernetes;
mod layers;
#[path = "dashboard/panels.rs"]
mod panels;
mod readme;
mod snapshots;
mod systemd_unit;
