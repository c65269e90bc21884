//! What a cgroup tells: its path, and the files of its memory controller.

pub mod container;
pub mod files;
pub mod hierarchy;
pub mod ids;
pub mod kubepods;
pub mod names;
pub mod node;
pub mod path;
pub mod pod;
pub mod population;
pub mod unit;

mod component;
mod mounts;
mod own;
