//! Kills in containers, from the kernel to the series, the record and the Event of the right pod.

mod away;
mod changes;
mod group;
mod hostile;
mod kinds;
pub(super) mod names;
mod namespace;
mod nodes;
pub(super) mod shapes;
pub(super) mod stage;
mod wanted;
mod ways;

use crate::books::Allowed;
use crate::case::Case;
use crate::harness::skipped;
use crate::kubelet::Driver;
use crate::world::World;

type Play = fn(&World, Driver) -> usize;

/// Plays it with the driver that is usual where the memory controller is of that version, on this
/// machine with both. The daemon that knows no pods sees each kill too, and its books balance.
fn with_drivers(world: &World, play: Play, allowed: &Allowed) -> String {
    let drivers = match (world.vm.is_some(), world.is_v2()) {
        (false, _) => &[Driver::Systemd, Driver::Cgroupfs][..],
        (true, true) => &[Driver::Systemd],
        (true, false) => &[Driver::Cgroupfs],
    };
    let mut total = 0;
    for driver in drivers {
        let mut case = Case::begin(world);
        let kills = play(world, *driver);
        case.kills_allowing(kills, allowed);
        total += kills;
    }
    format!("{total} kills on the right series")
}

/// Every kind of container on a full node.
pub(crate) fn kinds(world: &World) -> String {
    with_drivers(world, kinds::play, &Allowed::default())
}

/// A daemon that sees none of the containers' processes.
pub(crate) fn namespace(world: &World) -> String {
    with_drivers(world, namespace::play, &Allowed::default())
}

/// Pods that come, go and come back.
pub(crate) fn changes(world: &World) -> String {
    with_drivers(world, changes::play, &Allowed::default())
}

/// An API server that is away.
pub(crate) fn away(world: &World) -> String {
    with_drivers(world, away::play, &Allowed::default())
}

/// An API server that hangs or sends without end.
pub(crate) fn hostile(world: &World) -> String {
    if world.vm.is_some() {
        return skipped("the same on every kernel, and slow where the machine is emulated");
    }
    with_drivers(world, hostile::play, &Allowed::default())
}

/// A whole container, and a child right after it.
pub(crate) fn group(world: &World) -> String {
    // The pass over the group comes by its first victim again.
    let allowed = Allowed {
        repeats: 1,
        ..Allowed::default()
    };
    with_drivers(world, group::play, &allowed)
}

/// What people watch by hand.
pub(crate) fn ways(world: &World) -> String {
    with_drivers(world, ways::play, &Allowed::default())
}

/// Two nodes on one kernel.
pub(crate) fn nodes(world: &World) -> String {
    with_drivers(world, nodes::play, &Allowed::default())
}
