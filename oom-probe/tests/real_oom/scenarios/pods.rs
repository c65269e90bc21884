//! Kills in containers, from the kernel to the series, the record and the Event of the right pod.

mod changes;
mod kinds;
mod shapes;
pub(super) mod stage;
mod wanted;

use crate::case::Case;
use crate::kubelet::Driver;
use crate::world::World;

/// Plays it with the driver that is usual where the memory controller is of that version, on this
/// machine with both. The daemon that knows no pods sees each kill too, and its books balance.
fn with_drivers(world: &World, play: fn(&World, Driver) -> usize) -> String {
    let drivers = match (world.vm.is_some(), world.is_v2()) {
        (false, _) => &[Driver::Systemd, Driver::Cgroupfs][..],
        (true, true) => &[Driver::Systemd],
        (true, false) => &[Driver::Cgroupfs],
    };
    let mut total = 0;
    for driver in drivers {
        let mut case = Case::begin(world);
        let kills = play(world, *driver);
        case.kills(kills);
        total += kills;
    }
    format!("{total} kills on the right series")
}

/// Every kind of container on a full node.
pub(crate) fn kinds(world: &World) -> String {
    with_drivers(world, kinds::play)
}

/// Pods that come, go and come back.
pub(crate) fn changes(world: &World) -> String {
    with_drivers(world, changes::play)
}
