//! What the other layers speak of: kills, identities, labels.

pub mod cgroup_path;
pub mod container;
pub mod identity;
pub mod kill;
pub mod labels;
pub mod pod;
pub mod unit;
