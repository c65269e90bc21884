//! Capture that is on.

use std::io;
use std::os::fd::OwnedFd;

use aya::{Ebpf, programs::links::FdLink};

use crate::{
    accounting::{
        checkpoint::Checkpoint,
        counters::{Baseline, Ledger},
    },
    handover::Takeover,
    pin::{self, Generation, Pins},
    plan::{Candidate, ContextHook, Mark},
    ring::{Records, Ring},
};

/// Capture is on until this is dropped, and longer where it is pinned.
pub struct Armed {
    /// The rung that victims come from.
    pub mark: Candidate<Mark>,
    /// What tells begin and end of an OOM event, if anything does.
    pub context: Option<ContextHook>,
    /// Rungs that looked possible but were refused, and why: one line each.
    pub refused: Vec<String>,
    /// What the programs write.
    pub recorded: Recorded,
    /// What goes on without this daemon; none where nothing does.
    pub pins: Option<Pins>,
    /// The programs and their links.
    pub hooks: Hooks,
}

/// What the kernel programs write, for a [`Reader`](crate::reader::Reader) to read.
pub struct Recorded {
    /// The records: what waited of an earlier daemon's first.
    pub rings: Records,
    /// The counts.
    pub counters: Ledger,
    /// What earlier daemons have made of the records before those.
    pub checkpoint: Checkpoint,
    /// What vmstat said when the counts began; absent where it could not be read.
    pub baseline: Option<Baseline>,
    /// The program of the hook on signals, if that is attached.
    pub signal: Option<OwnedFd>,
    /// Since when kills are captured.
    pub handover: Takeover,
}

/// Keeps the hooks attached; those that are not pinned go when it is dropped.
pub struct Hooks {
    pub(super) _links: Vec<OwnedFd>,
    pub(super) _own: Vec<FdLink>,
    /// Kept where the kernel has no links for some of the programs.
    pub(super) _programs: Option<Ebpf>,
}

/// What earlier daemons have made of the records before those in the first ring that is left.
pub(super) fn checkpoint(ledger: &Ledger, first: &Ring) -> Checkpoint {
    ledger
        .checkpoint(first.released() as u64)
        .unwrap_or_default()
}

/// Takes programs that record no more out of the kernel; returns their rings.
pub(super) fn silence(left: &[Generation]) -> Vec<Ring> {
    let rings = left.iter().filter_map(|generation| {
        if let Err(error) = generation.detach() {
            tracing::warn!("cannot detach replaced programs: {error}");
        }
        match pin::ring_of(&generation.ring()) {
            Ok(ring) => Some(ring),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("the ring of replaced programs is lost: {error}");
                None
            }
        }
    });
    rings.collect()
}
