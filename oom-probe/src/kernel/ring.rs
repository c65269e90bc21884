//! The ring buffer, read so that a record leaves it only once it has been dealt with.
//!
//! What is read stays in the ring until [`Ring::release`]: a daemon that dies in between leaves it
//! to the next one. kernel/bpf/ringbuf.c: a page with the reader's position, which is this side's
//! to write, a page with the writer's, and the data, each record behind a header of 8 bytes.

mod records;
mod size;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use aya::maps::MapData;
use memmap2::{MmapOptions, MmapRaw};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

pub use records::{Item, Records};
pub use size::RingSize;

/// `BPF_RINGBUF_HDR_SZ` of include/uapi/linux/bpf.h.
const HEADER: usize = 8;
/// `BPF_RINGBUF_BUSY_BIT`: the record is still being written.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: the record is to be skipped.
const DISCARD: u32 = 1 << 30;

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

/// A ring buffer map, mapped.
///
/// The data is mapped once, not twice in a row as the kernel offers: each mapping counts in the
/// resident memory, and only a record that wraps around has to be copied instead.
pub struct Ring {
    fd: OwnedFd,
    /// Of the map.
    id: u32,
    consumer: MmapRaw,
    producer: MmapRaw,
    page: usize,
    size: usize,
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
        let page = rustix::param::page_size();
        let fd = map.fd().as_fd().try_clone_to_owned()?;
        let consumer = MmapOptions::new().len(page).map_raw(fd.as_raw_fd())?;
        let producer = MmapOptions::new()
            .offset(page as u64)
            .len(page + size)
            .map_raw_read_only(fd.as_raw_fd())?;
        let mut ring = Self {
            fd,
            id: info.id(),
            consumer,
            producer,
            page,
            size,
            position: 0,
            settled: 0,
            released: 0,
            wrapped: Vec::new(),
        };
        let position = ring.consumer_position().load(Ordering::Acquire);
        let waiting = ring.written().wrapping_sub(position);
        if waiting > size || !position.is_multiple_of(HEADER) || !size.is_power_of_two() {
            return Err(io::Error::other(format!(
                "{waiting} bytes wait in a ring of {size}"
            )));
        }
        (ring.position, ring.settled, ring.released) = (position, position, position);
        Ok(ring)
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
            let unread = self.unread();
            let head = self.head(self.position);
            let len = (head & !DISCARD) as usize;
            let taken = (HEADER + len).next_multiple_of(HEADER);
            if taken > unread {
                // Whoever wrote this was not the kernel: nothing behind it can be told apart.
                tracing::warn!("the ring holds a record of {len} bytes, {unread} are left");
                self.position = self.position.wrapping_add(unread);
                return None;
            }
            let at = self.position.wrapping_add(HEADER);
            self.position = self.position.wrapping_add(taken);
            if head & DISCARD == 0 {
                let (ring, read) = (self.id, self.position as u64);
                let bytes = self.bytes(at, len);
                return Some(Item { bytes, ring, read });
            }
        }
    }

    /// Whether a complete record waits.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.unread() >= HEADER && self.head(self.position) & BUSY == 0
    }

    /// Bytes that were written and not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.written().wrapping_sub(self.position).min(self.size)
    }

    /// Nothing that was read so far is needed any more, once it is released.
    pub fn settle(&mut self) {
        self.settled = self.position;
    }

    /// Lets the kernel write over everything up to the last [`Ring::settle`].
    pub fn release(&mut self) {
        if self.released != self.settled {
            self.released = self.settled;
            // The kernel pairs this with an acquiring load (`bpf_ringbuf_reserve`).
            let position = self.consumer_position();
            position.store(self.settled, Ordering::Release);
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
        self.size
    }

    fn consumer_position(&self) -> &AtomicUsize {
        // SAFETY: the page is mapped as long as `self` lives, writable, and begins with an aligned
        // unsigned long that the kernel only reads, atomically.
        unsafe { AtomicUsize::from_ptr(self.consumer.as_mut_ptr().cast()) }
    }

    fn written(&self) -> usize {
        // SAFETY: as for the consumer's page, but mapped for reading: it is only loaded from.
        let position = unsafe { AtomicUsize::from_ptr(self.producer.as_mut_ptr().cast()) };
        position.load(Ordering::Acquire)
    }

    /// The length of the record at a position, with its two bits.
    fn head(&self, position: usize) -> u32 {
        let at = self.page + (position & (self.size - 1));
        // SAFETY: positions are multiples of 8, so the word is aligned and within the data, which
        // is `size` bytes, a power of two, behind the producer's page. It is only loaded from.
        let head = unsafe { AtomicU32::from_ptr(self.producer.as_mut_ptr().add(at).cast()) };
        // The kernel clears BUSY, fully ordered, once the record is written.
        head.load(Ordering::Acquire)
    }

    /// The bytes of a complete record that was not released.
    fn bytes(&mut self, position: usize, len: usize) -> &[u8] {
        let at = position & (self.size - 1);
        let first = len.min(self.size - at);
        // SAFETY: `first` bytes from `at` are within the data. The kernel does not write there
        // before the consumer's position has passed them, which takes `&mut self`.
        let head = unsafe {
            std::slice::from_raw_parts(self.producer.as_ptr().add(self.page + at), first)
        };
        if first == len {
            return head;
        }
        // SAFETY: the rest of it is at the beginning of the data, under the same terms.
        let tail = unsafe {
            std::slice::from_raw_parts(self.producer.as_ptr().add(self.page), len - first)
        };
        self.wrapped.clear();
        self.wrapped.extend_from_slice(head);
        self.wrapped.extend_from_slice(tail);
        &self.wrapped
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Tells when the ring has something to read.
pub struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Watches that ring.
    ///
    /// # Errors
    /// When its descriptor cannot be duplicated or watched.
    pub fn new(ring: &impl AsFd) -> io::Result<Self> {
        let fd = ring.as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor is owned by the AsyncFd and nobody else closes it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
            .map_err(io::Error::from)?;
        Ok(Self(fd))
    }

    /// Waits until a record arrives, then reads everything with `drain`. Readiness is cleared only
    /// after that: the kernel signals it by edges.
    ///
    /// # Errors
    /// When the descriptor can no longer be watched.
    pub async fn next(&self, drain: impl FnOnce()) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        ready.clear_ready();
        drain();
        Ok(())
    }
}
