//! One file per shape of OOM kill.

mod exiting;
mod group;
mod herd;
mod hold;
mod leader_exit;
mod pidns;
mod shared_mm;

pub(crate) use exiting::Exiting;
pub(crate) use group::Group;
pub(crate) use herd::Herd;
pub(crate) use hold::Hold;
pub(crate) use leader_exit::LeaderExit;
pub(crate) use pidns::Pidns;
pub(crate) use shared_mm::SharedMm;
