//! What one read of the rings brings.

use crate::{assemble::Killed, handover::resumed::Position};

/// A kill, and where it was read.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The kill.
    pub killed: Killed,
    /// Where its ring had been read up to then.
    pub position: Position,
    /// It happened while no daemon ran.
    pub was_away: bool,
}

/// What one read brought.
#[derive(Debug, Default)]
pub struct Batch {
    /// The kills, each once, in the kernel's order.
    pub kills: Vec<Captured>,
    /// Records taken.
    pub received: u64,
    /// Those of them that were not understood, or never finished.
    pub rejected: u64,
    /// Marks of tasks that were dying anyway.
    pub exiting: u64,
    /// Kills whose records are of another release.
    pub unreadable: Option<Unreadable>,
    /// Kills for whose records the ring had no room.
    pub dropped: u64,
    /// Whether the rings were empty then.
    pub all: bool,
    /// Whether there is nothing more to take at the moment: they were empty, or what comes next is
    /// still being written.
    pub ended: bool,
    /// When the kernel made the first mark among it: boot time, ns.
    pub first_mark_ns: Option<u64>,
}

/// Marks of programs of another release: of those nothing else is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// How many.
    pub kills: u64,
    /// Those of them that were made while no daemon ran.
    pub was_away: u64,
    /// Why the first cannot be read.
    pub why: String,
}
