//! Hands records to user space and keeps the books.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
};
use oom_probe_common::{ledger::Count, record::Header};

use crate::{
    globals::setting,
    log,
    maps::{count, output},
};

/// Whether a record is worth waking the daemon for.
#[derive(Clone, Copy)]
pub(crate) enum Wake {
    /// At once. Not left to the ring, which wakes nobody while an unread record waits, and records
    /// sent with [`Wake::Later`] do wait.
    Now,
    /// Another record of the same event follows, or it only helps to understand one.
    Later,
}

/// The header of a record of that kind and length.
#[inline(always)]
pub(crate) fn header(kind: u8, hook: u8, len: usize) -> Header {
    let ids = bpf_get_current_pid_tgid();
    Header {
        version: setting!(version) as u16,
        kind,
        hook,
        len: len as u32,
        // SAFETY: the helper has no preconditions.
        time_ns: unsafe { bpf_ktime_get_boot_ns() },
        current_tgid: (ids >> 32) as u32,
        current_tid: ids as u32,
    }
}

/// Submits a record, or counts in `dropped` that the ring had no room.
#[inline(always)]
pub(crate) fn submit(data: *const u8, len: u64, wake: Wake, dropped: Count) {
    let flags = match wake {
        Wake::Now => BPF_RB_FORCE_WAKEUP,
        Wake::Later => BPF_RB_NO_WAKEUP,
    };
    if output(data, len, flags.into()) {
        count(Count::Submitted);
    } else {
        log::warning!("the ring is full, a record of {} bytes is lost", len);
        count(dropped);
    }
}
