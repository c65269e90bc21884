//! What a cgroup tells: its path, and the files of its memory controller.

pub mod files;
pub mod hierarchy;
pub mod ids;
pub mod kubepods;
pub mod node;
pub mod path;
pub mod population;

mod component;
mod mounts;
pub mod oom_counters;
mod own;
mod walk;
