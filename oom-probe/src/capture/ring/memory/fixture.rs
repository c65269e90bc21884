//! Rings in memory of a test's own, and who writes to them in the kernel's place.

use super::super::buffer::{BUSY, DISCARD, HEADER, Ring};
use super::*;

/// A page in these tests.
const PAGE: usize = 4096;

/// Writes to a ring as the kernel does (kernel/bpf/ringbuf.c). Not longer than the ring lives.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    consumer: *mut u8,
    producer: *mut u8,
    size: usize,
}

// SAFETY: the pointers are into mappings that any thread may use; whoever sends it keeps the ring
// longer than the thread.
unsafe impl Send for Kernel {}

impl Ring {
    /// A ring that was read and written up to that position.
    pub(crate) fn made(id: u32, size: usize, position: usize) -> (Self, Kernel) {
        let map = |len| MmapRaw::from(MmapOptions::new().len(len).map_anon().unwrap());
        let memory = Memory {
            consumer: map(PAGE),
            producer: map(PAGE + size),
            page: PAGE,
            size,
        };
        let kernel = Kernel {
            consumer: memory.consumer.as_mut_ptr(),
            producer: memory.producer.as_mut_ptr(),
            size,
        };
        memory.consume(position);
        kernel.written().store(position, Ordering::Release);
        // Any descriptor will do: nothing waits for it.
        let (fd, _) = io::pipe().unwrap();
        (Self::new(fd.into(), id, memory).unwrap(), kernel)
    }
}

impl Kernel {
    fn written(&self) -> &AtomicUsize {
        // SAFETY: an aligned unsigned long at the beginning of a page that is mapped.
        unsafe { AtomicUsize::from_ptr(self.producer.cast()) }
    }

    pub(crate) fn head(&self, position: usize) -> &AtomicU32 {
        let at = PAGE + (position & (self.size - 1));
        // SAFETY: positions are multiples of 8, within the data.
        unsafe { AtomicU32::from_ptr(self.producer.add(at).cast()) }
    }

    /// Begins a record; `None` where there is no room for it.
    pub(crate) fn reserve(&self, len: usize) -> Option<usize> {
        // SAFETY: as for the producer's page.
        let consumed = unsafe { AtomicUsize::from_ptr(self.consumer.cast()) };
        let position = self.written().load(Ordering::Relaxed);
        let next = position.wrapping_add((HEADER + len).next_multiple_of(HEADER));
        if next.wrapping_sub(consumed.load(Ordering::Acquire)) > self.size {
            return None;
        }
        let head = len as u32 | BUSY;
        self.head(position).store(head, Ordering::Relaxed);
        self.written().store(next, Ordering::Release);
        Some(position)
    }

    /// Writes and completes the record that was begun there.
    pub(crate) fn commit(&self, position: usize, bytes: &[u8]) {
        for (n, byte) in bytes.iter().enumerate() {
            let at = position.wrapping_add(HEADER + n) & (self.size - 1);
            // SAFETY: within the data, and nobody reads a record that is not complete.
            unsafe { self.producer.add(PAGE + at).write(*byte) };
        }
        self.head(position)
            .swap(bytes.len() as u32, Ordering::SeqCst);
    }

    /// Takes the record back that was begun there.
    pub(crate) fn discard(&self, position: usize) {
        self.head(position)
            .fetch_xor(BUSY | DISCARD, Ordering::SeqCst);
    }

    /// A whole record.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let position = self.reserve(bytes.len()).expect("there is room");
        self.commit(position, bytes);
    }
}
