//! The memory of a ring, shared with the kernel.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

use memmap2::{MmapOptions, MmapRaw};

/// The pages of a ring buffer map.
///
/// The data is mapped once, not twice in a row as the kernel offers: each mapping counts in the
/// resident memory, and only a record that wraps around has to be copied instead.
///
/// The kernel lets nobody write to its own position and to the data (kernel/bpf/ringbuf.c
/// `ringbuf_map_mmap_kern`), so they are mapped for reading. Of such memory Rust allows relaxed
/// loads only (`std::sync::atomic`, "Atomic accesses to read-only memory"). An acquire fence behind
/// the load orders what is read next, as an acquire load would.
pub(super) struct Memory {
    /// A page that begins with the reader's position.
    consumer: MmapRaw,
    /// A page that begins with the writer's position, and the data.
    producer: MmapRaw,
    page: usize,
    size: usize,
}

impl Memory {
    /// Maps a ring of that many bytes, a power of two.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub(super) fn map(fd: &OwnedFd, size: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        Ok(Self {
            consumer: MmapOptions::new().len(page).map_raw(fd.as_raw_fd())?,
            producer: MmapOptions::new()
                .offset(page as u64)
                .len(page + size)
                .map_raw_read_only(fd.as_raw_fd())?,
            page,
            size,
        })
    }

    /// Bytes of the data.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Up to where the last reader needs nothing any more.
    pub(super) fn consumed(&self) -> usize {
        self.consumer_position().load(Ordering::Acquire)
    }

    /// Lets the kernel write over everything up to that position. It pairs this with an acquiring
    /// load (`__bpf_ringbuf_reserve`).
    pub(super) fn consume(&self, position: usize) {
        self.consumer_position().store(position, Ordering::Release);
    }

    fn consumer_position(&self) -> &AtomicUsize {
        // SAFETY: the page is mapped as long as `self` lives, writable, and begins with an aligned
        // unsigned long that the kernel only reads, atomically.
        unsafe { AtomicUsize::from_ptr(self.consumer.as_mut_ptr().cast()) }
    }

    /// Up to where records were begun.
    pub(super) fn written(&self) -> usize {
        // `__bpf_ringbuf_reserve` sets BUSY in the header, then stores the position by
        // smp_store_release: what lies before the position is a header.
        // SAFETY: the page is mapped as long as `self` lives, and begins with an aligned unsigned
        // long that the kernel writes atomically.
        unsafe { acquire_usize(self.producer.as_ptr().cast()) }
    }

    /// The length of the record at a position, with its two bits.
    pub(super) fn head(&self, position: usize) -> u32 {
        let at = self.page + (position & (self.size - 1));
        // `bpf_ringbuf_commit` clears BUSY by xchg, which is fully ordered, once the record is
        // written: where it is cleared, the bytes behind the header are there.
        // SAFETY: positions are multiples of 8, so the word is aligned and within the data, which
        // is `size` bytes, a power of two, behind the producer's page.
        unsafe { acquire_u32(self.producer.as_ptr().add(at).cast()) }
    }

    /// The bytes of a complete record that the kernel was not allowed to write over; in `wrapped`
    /// where it begins again at the start of the data.
    pub(super) fn bytes<'a>(
        &'a self,
        position: usize,
        len: usize,
        wrapped: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        let at = position & (self.size - 1);
        let first = len.min(self.size - at);
        // SAFETY: `first` bytes from `at` are within the data. The kernel does not write there
        // before the consumer's position has passed them, which takes the `&mut Ring` that the
        // bytes are borrowed from.
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
        wrapped.clear();
        wrapped.extend_from_slice(head);
        wrapped.extend_from_slice(tail);
        wrapped
    }
}

/// An acquire load that memory mapped for reading allows.
///
/// # Safety
/// The word is aligned, mapped, and written by atomic stores only.
unsafe fn acquire_usize(at: *const usize) -> usize {
    // SAFETY: the caller's. It is only loaded from.
    let value = unsafe { &*at.cast::<AtomicUsize>() }.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// As [`acquire_usize`].
///
/// # Safety
/// The same.
unsafe fn acquire_u32(at: *const u32) -> u32 {
    // SAFETY: the caller's. It is only loaded from.
    let value = unsafe { &*at.cast::<AtomicU32>() }.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

#[cfg(test)]
pub(super) mod fixture;

#[cfg(test)]
mod tests {
    use super::*;

    /// Miri refuses an acquire load there.
    #[test]
    fn memory_that_nobody_may_write_to_is_loaded_from_as_rust_allows() {
        static POSITION: usize = 7;
        static HEAD: u32 = 8;
        // SAFETY: aligned, and never written to.
        let loaded = unsafe {
            (
                acquire_usize(&raw const POSITION),
                acquire_u32(&raw const HEAD),
            )
        };
        assert_eq!(loaded, (7, 8));
    }
}
