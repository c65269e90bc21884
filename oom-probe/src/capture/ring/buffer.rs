//! One ring, mapped: kernel/bpf/ringbuf.c. A page with the reader's position, which is this side's to
//! write, a page with the writer's, and the data, each record behind a header of 8 bytes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::maps::MapData;
use serde::{Deserialize, Serialize};

use super::memory::Memory;

/// `BPF_RINGBUF_HDR_SZ` of include/uapi/linux/bpf.h.
pub(super) const HEADER: usize = 8;
/// `BPF_RINGBUF_BUSY_BIT`: the record is still being written.
pub(super) const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: the record is to be skipped.
pub(super) const DISCARD: u32 = 1 << 30;

/// How far a ring has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingState {
    /// Id of its map in the kernel.
    pub id: u32,
    /// Where the next daemon would begin to read.
    pub released: u64,
    /// Records before it have been taken.
    pub read: u64,
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

/// A ring buffer map, mapped.
pub struct Ring {
    fd: OwnedFd,
    /// Of the map.
    id: u32,
    memory: Memory,
    /// Up to where records were read.
    position: usize,
    /// Up to where they are not needed any more.
    settled: usize,
    /// Up to where the kernel may write over them.
    released: usize,
    wrapped: Vec<u8>,
}

impl Ring {
    /// Maps the ring of that map. Reading goes on where the last reader released.
    ///
    /// # Errors
    /// What mmap(2) says; or the positions in it cannot be those of a ring of this size.
    pub fn map(map: &MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let size = info.max_entries() as usize;
        let fd = map.fd().as_fd().try_clone_to_owned()?;
        let memory = Memory::map(&fd, size)?;
        Self::new(fd, info.id(), memory)
    }

    pub(super) fn new(fd: OwnedFd, id: u32, memory: Memory) -> io::Result<Self> {
        let (size, position) = (memory.size(), memory.consumed());
        let waiting = memory.written().wrapping_sub(position);
        if waiting > size || !position.is_multiple_of(HEADER) || !size.is_power_of_two() {
            return Err(io::Error::other(format!(
                "{waiting} bytes wait in a ring of {size}"
            )));
        }
        Ok(Self {
            fd,
            id,
            memory,
            position,
            settled: position,
            released: position,
            wrapped: Vec::new(),
        })
    }

    /// The next record, if one is complete. It stays in the ring.
    #[expect(
        clippy::should_implement_trait,
        reason = "the record borrows from the ring"
    )]
    pub fn next(&mut self) -> Option<Item<'_>> {
        loop {
            if !self.is_ready() {
                return None;
            }
            let at = self.position.wrapping_add(HEADER);
            let head = self.memory.head(self.position);
            let len = self.step(head)?;
            if head & DISCARD == 0 {
                let (ring, read) = (self.id, self.position as u64);
                let bytes = self.memory.bytes(at, len, &mut self.wrapped);
                return Some(Item { bytes, ring, read });
            }
        }
    }

    /// Goes on behind the record with that head; returns its length, or `None` where it cannot be.
    fn step(&mut self, head: u32) -> Option<usize> {
        let unread = self.unread();
        let len = (head & !(BUSY | DISCARD)) as usize;
        let taken = (HEADER + len).next_multiple_of(HEADER);
        if taken > unread {
            // Whoever wrote this was not the kernel: nothing behind it can be told apart.
            tracing::warn!("the ring holds a record of {len} bytes, {unread} are left");
            self.position = self.position.wrapping_add(unread);
            return None;
        }
        self.position = self.position.wrapping_add(taken);
        Some(len)
    }

    /// Leaves out the next record if it is still being written; true if it was.
    pub(super) fn skip_unfinished(&mut self) -> bool {
        let unfinished = self.is_unfinished();
        if unfinished {
            self.step(self.memory.head(self.position));
        }
        unfinished
    }

    /// Whether a complete record waits.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.unread() >= HEADER && self.memory.head(self.position) & BUSY == 0
    }

    /// Whether the next record is still being written.
    pub(super) fn is_unfinished(&self) -> bool {
        self.unread() >= HEADER && self.memory.head(self.position) & BUSY != 0
    }

    /// Bytes that were written and not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        let written = self.memory.written();
        written.wrapping_sub(self.position).min(self.size())
    }

    /// Nothing that was read so far is needed any more, once it is released.
    pub fn settle(&mut self) {
        self.settled = self.position;
    }

    /// Lets the kernel write over everything up to the last [`Ring::settle`].
    pub fn release(&mut self) {
        if self.released != self.settled {
            self.released = self.settled;
            self.memory.consume(self.settled);
        }
    }

    /// How far it has been read.
    #[must_use]
    pub fn state(&self) -> RingState {
        RingState {
            id: self.id,
            released: self.released as u64,
            read: self.position as u64,
        }
    }

    /// Up to where the next [`Ring::release`] goes.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.settled
    }

    /// Where the next reader would begin.
    #[must_use]
    pub fn released(&self) -> usize {
        self.released
    }

    /// Bytes that were read and are still needed.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.position.wrapping_sub(self.settled)
    }

    /// Bytes that were read and are kept in the ring.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.position.wrapping_sub(self.released)
    }

    /// Bytes of the ring.
    #[must_use]
    pub fn size(&self) -> usize {
        self.memory.size()
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests;
