//! The records of all rings, as one stream.

use std::collections::VecDeque;

use super::{Ring, RingState};

/// The records of all rings in the order in which they were written: those of programs that were
/// replaced first.
pub struct Records {
    left: VecDeque<Ring>,
    live: Ring,
}

/// A complete record.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its bytes, still in the ring.
    pub bytes: &'a [u8],
    /// Its ring, by the id of the map.
    pub ring: u32,
    /// Up to where that ring has been read with it.
    pub read: u64,
}

impl Records {
    /// `left` are the rings of programs that write no more, oldest first.
    #[must_use]
    pub fn new(left: Vec<Ring>, live: Ring) -> Self {
        Self {
            left: left.into_iter().filter(Ring::is_ready).collect(),
            live,
        }
    }

    /// The next record, if one is complete. It stays in its ring.
    #[expect(
        clippy::should_implement_trait,
        reason = "the record borrows from the ring"
    )]
    pub fn next(&mut self) -> Option<Item<'_>> {
        let ring = match self.left.iter().position(Ring::is_ready) {
            Some(at) => &mut self.left[at],
            None => &mut self.live,
        };
        ring.next()
    }

    /// How far each ring has been read; the live one is the last.
    pub fn states(&self) -> impl Iterator<Item = RingState> {
        let left = self.left.iter().map(Ring::state);
        left.chain([self.live.state()])
    }

    /// Bytes that were written and not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.left.iter().map(Ring::unread).sum::<usize>() + self.live.unread()
    }

    /// Nothing that was read so far is needed any more, once it is released.
    pub fn settle(&mut self) {
        self.left.iter_mut().for_each(Ring::settle);
        self.live.settle();
    }

    /// Lets the kernel write over everything up to the last [`Records::settle`]. To be called once
    /// what followed from those records is where it will survive this process.
    pub fn release(&mut self) {
        self.left.iter_mut().for_each(Ring::release);
        self.left.retain(|ring| ring.is_ready() || ring.kept() > 0);
        self.live.release();
    }

    /// Up to where the first ring that is not done with would be released.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.left.front().unwrap_or(&self.live).settled() as u64
    }

    /// Whether rings of programs that were replaced are still to be read and released.
    #[must_use]
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Bytes that were read and are still needed.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.left.iter().map(Ring::unsettled).sum::<usize>() + self.live.unsettled()
    }

    /// Whether the next [`Records::release`] makes room, or has done with a ring.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        self.has_left() || self.live.settled() != self.live.released()
    }

    /// The ring that is written to.
    #[must_use]
    pub fn live(&self) -> &Ring {
        &self.live
    }
}
