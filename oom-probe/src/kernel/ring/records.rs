//! The records of all rings, as one stream.

use std::collections::VecDeque;

use super::Ring;

/// The records of all rings in the order in which they were written: those of programs that were
/// replaced first.
pub struct Records {
    left: VecDeque<Ring>,
    live: Ring,
}

impl Records {
    /// `left` are the rings of programs that write no more, oldest first.
    #[must_use]
    pub fn new(left: Vec<Ring>, live: Ring) -> Self {
        Self {
            left: left.into(),
            live,
        }
    }

    /// The next record, if one is complete. It stays in its ring.
    #[expect(
        clippy::should_implement_trait,
        reason = "the record borrows from the ring"
    )]
    pub fn next(&mut self) -> Option<&[u8]> {
        match self.left.iter().position(Ring::is_ready) {
            Some(at) => self.left[at].next(),
            None => self.live.next(),
        }
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

    /// Whether the rings of programs that were replaced have been read and released.
    #[must_use]
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Bytes that were read and are kept in the rings.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.left.iter().map(Ring::kept).sum::<usize>() + self.live.kept()
    }

    /// The ring that is written to.
    #[must_use]
    pub fn live(&self) -> &Ring {
        &self.live
    }
}
