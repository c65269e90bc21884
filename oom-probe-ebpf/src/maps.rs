//! The maps: the ring and the ledger that user space reads, and the programs' own memory.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use oom_probe_common::{
    ledger::{Count, ENTRIES, Slot},
    record::{Body, Header, LEVELS_BYTES, NAME_MAX},
};

use crate::{globals::setting, read::Address};

/// Records on their way to user space. User space sets the size.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);

/// Counts of what happened, record or not, and what all programs and daemons agree on; see
/// [`Count`] and [`Slot`].
#[map]
static LEDGER: Array<u64> = Array::with_max_entries(ENTRIES, BPF_F_MMAPABLE);

/// Where records are built: one buffer for marks, one for signals, which may come in between.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(2, 0);

/// A record under construction. The slack behind `levels` lets the verifier bound a level and its
/// name by where they begin.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) header: Header,
    pub(crate) body: Body,
    pub(crate) levels: [u8; LEVELS_BYTES + SLACK],
    pub(crate) walk: Walk,
}

/// Where the walk from a task's cgroup up to the root has come to.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    /// Where in `levels` the next level goes, bytes.
    pub(crate) position: usize,
    /// The next cgroup; null above the root.
    pub(crate) cgroup: Address,
    /// The next `cgroup_subsys_state` of the memory controller; null where it is not asked.
    pub(crate) memory: Address,
}

// SAFETY: each CPU has its own, and the kernel's memory is nobody's here.
unsafe impl Sync for Walk {}

/// More than one level and the longest name.
const SLACK: usize = 512;
const _: () = assert!(SLACK >= size_of::<oom_probe_common::record::Level>() + NAME_MAX + 1);

/// The last mark, by which the signal hook knows the processes that share the victim's mm.
#[derive(Clone, Copy)]
pub(crate) struct LastMark {
    pub(crate) mm: u64,
    pub(crate) current: u64,
}

/// Which scratch buffer.
#[repr(u32)]
#[derive(Clone, Copy)]
pub(crate) enum Buffer {
    Mark = 0,
    Signal = 1,
}

/// The scratch buffer of this CPU; `buffer` is a [`Buffer`].
#[inline(always)]
pub(crate) fn scratch(buffer: u32) -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(buffer)
}

/// Whether these are the programs that record; others may be attached beside them while one
/// daemon takes over from another.
#[inline(always)]
pub(crate) fn is_live() -> bool {
    read(Slot::Generation) == Some(setting!(generation))
}

/// The last mark, of whichever programs.
#[inline(always)]
pub(crate) fn last_mark() -> Option<LastMark> {
    Some(LastMark {
        mm: read(Slot::LastMarkMm)?,
        current: read(Slot::LastMarkCurrent)?,
    })
}

/// Remembers a mark. Whoever reads it at the same time sees a part of it at worst, and then sends
/// a record less detailed than it could be.
#[inline(always)]
pub(crate) fn set_last_mark(LastMark { mm, current }: LastMark) {
    for (slot, value) in [(Slot::LastMarkMm, mm), (Slot::LastMarkCurrent, current)] {
        if let Some(entry) = LEDGER.get_ptr_mut(slot as u32) {
            // SAFETY: an aligned u64 of a live map.
            unsafe { entry.write_volatile(value) };
        }
    }
}

#[inline(always)]
fn read(slot: Slot) -> Option<u64> {
    let entry = LEDGER.get_ptr(slot as u32)?;
    // SAFETY: an aligned u64 of a live map, which may change at any time.
    Some(unsafe { entry.read_volatile() })
}

/// Counts one in the ledger.
#[inline(always)]
pub(crate) fn count(what: Count) {
    if let Some(slot) = LEDGER.get_ptr_mut(what as u32) {
        // An instruction of its own, since the language has no atomic add for this target, and
        // one that every kernel knows: those that also fetch came with 5.12.
        // SAFETY: the slot is an aligned u64 of a live map; user space only reads it.
        unsafe {
            core::arch::asm!(
                "lock *(u64 *)({slot} + 0) += {one}",
                slot = in(reg) slot,
                one = in(reg) 1_u64,
                options(nostack),
            );
        }
    }
}

/// Puts bytes into the ring; false when it is full.
#[inline(always)]
pub(crate) fn output(data: *const u8, len: u64, flags: u64) -> bool {
    // SAFETY: `data` is valid for `len` bytes, which the verifier proves; the map is a ring.
    let result = unsafe {
        aya_ebpf::helpers::bpf_ringbuf_output(
            (&raw const RING).cast_mut().cast(),
            data.cast_mut().cast(),
            len,
            flags,
        )
    };
    result == 0
}
