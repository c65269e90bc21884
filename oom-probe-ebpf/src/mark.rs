//! `oom:mark_victim`: the kernel marks a task as a victim of the OOM killer.
//!
//! mm/oom_kill.c `mark_oom_victim`, in the context of the task whose allocation failed and under
//! `oom_lock`. Kernels before 6.9 without the back-port hand over a pid instead of the task.

use core::mem::offset_of;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_tracepoint, raw_tracepoint, tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use oom_probe_common::{
    ledger::Count,
    record::{Header, Target, hook, kind, valid},
};

use crate::{
    cgroup,
    emit::{Wake, header, submit},
    globals::{offset, setting},
    log,
    maps::{Buffer, LastMark, Scratch, count, is_live, scratch, set_last_mark},
    read::{Address, Direct, Probe, Read},
    task, unit,
};

/// `PF_EXITING` of include/linux/sched.h.
pub(crate) const PF_EXITING: u32 = 0x4;

/// Where the tracepoint hands over the task. Minimum kernel: 5.8 (ring buffer).
#[raw_tracepoint(tracepoint = "mark_victim")]
fn mark_raw_tp(ctx: RawTracePointContext) -> u32 {
    marked::<Probe>(ctx.arg(0), hook::RAW_TP);
    0
}

/// The same by direct loads, where `bpf_probe_read_kernel` is refused. Minimum kernel: 5.11
/// (`bpf_get_current_task_btf`).
#[btf_tracepoint(function = "mark_victim")]
fn mark_tp_btf(ctx: BtfTracePointContext) -> u32 {
    marked::<Direct>(ctx.arg(0), hook::TP_BTF);
    0
}

/// Where the tracepoint hands over a pid: the signal hook has told the rest.
#[raw_tracepoint(tracepoint = "mark_victim")]
fn mark_raw_tp_pid(ctx: RawTracePointContext) -> u32 {
    let exiting = setting!(probe_reads) == 1
        && Probe::member::<u32>(Probe::current(), offset!(task_flags)).value & PF_EXITING != 0;
    let trigger = if exiting { valid::TRIGGER_EXITING } else { 0 };
    marked_thread(ctx.arg(0), trigger, hook::RAW_TP);
    0
}

/// Where only the plain tracepoint is to be had: its pid, at the offset that its `format` gives.
#[tracepoint(category = "oom", name = "mark_victim")]
fn mark_tracepoint(ctx: TracePointContext) -> u32 {
    let offset = setting!(tracepoint_pid) as usize;
    // SAFETY: the offset is that of a field of this tracepoint.
    if let Ok(tid) = unsafe { ctx.read_at(offset) } {
        marked_thread(tid, 0, hook::TRACEPOINT);
    }
    0
}

#[inline(always)]
fn marked_thread(tid: u32, trigger: u64, hook: u8) {
    if !is_live() {
        return;
    }
    count(Count::Marks);
    log::debug!("mark_victim: thread {}", tid);
    let record = thread(kind::MARK_TID, tid, trigger, hook);
    let len = size_of::<ThreadRecord>() as u64;
    let data = (&raw const record).cast();
    submit(data, len, Wake::Now, Count::DroppedMarks);
}

#[repr(C)]
pub(crate) struct ThreadRecord {
    header: Header,
    target: Target,
}

/// A record of that kind with no more than a thread id.
#[inline(always)]
pub(crate) fn thread(kind: u8, tid: u32, more: u64, hook: u8) -> ThreadRecord {
    ThreadRecord {
        header: header(kind, hook, size_of::<ThreadRecord>()),
        target: Target {
            valid: valid::IDS | more,
            tgid: 0,
            tid,
            start_time_ns: 0,
            mm: 0,
        },
    }
}

#[inline(always)]
fn marked<R: Read>(victim: Address, hook: u8) {
    if !is_live() {
        return;
    }
    count(Count::Marks);
    // Marks are serialised by `oom_lock`.
    let Some(record) = record::<R>(Buffer::Mark, victim, kind::MARK, hook) else {
        return;
    };
    log::debug!(
        "mark_victim: a record of {} bytes, mm {:x}",
        record.len,
        record.mm
    );
    remember(record.mm);
    record.submit(Wake::Now, Count::DroppedMarks);
}

/// A record that is built, in a scratch buffer.
pub(crate) struct Whole {
    scratch: *const Scratch,
    /// Bytes.
    len: u64,
    /// Address of the victim's mm.
    pub(crate) mm: u64,
}

impl Whole {
    #[inline(always)]
    pub(crate) fn submit(&self, wake: Wake, dropped: Count) {
        submit(self.scratch.cast(), self.len, wake, dropped);
    }
}

/// Builds a record of all there is to know, in that buffer, which nobody else on this CPU may be using.
#[inline(always)]
pub(crate) fn record<R: Read>(
    buffer: Buffer,
    victim: Address,
    kind: u8,
    hook: u8,
) -> Option<Whole> {
    let scratch = scratch(buffer as u32)?;
    let current = R::current();
    // SAFETY: a part of this CPU's own buffer.
    let body = unsafe { &mut (*scratch).body };
    *body = task::EMPTY;
    task::victim::<R>(body, victim);
    task::trigger::<R>(body, current);
    let mm = body.victim.mm;
    let end = cgroup::victim_path::<R>(buffer, scratch, victim);
    let end = cgroup::trigger_path::<R>(buffer, scratch, end, current);
    let end = unit::unit_path::<R>(buffer, scratch, end, victim);
    let len = offset_of!(Scratch, levels) + end;
    // SAFETY: as above.
    unsafe { (*scratch).header = header(kind, hook, len) };
    Some(Whole {
        scratch,
        // Never more than the buffer holds; said so that the verifier believes it.
        len: len.min(size_of::<Scratch>()) as u64,
        mm,
    })
}

/// Lets the signal hook know whose mm the next signals may share.
#[inline(always)]
pub(crate) fn remember(mm: u64) {
    set_last_mark(LastMark {
        mm,
        current: bpf_get_current_pid_tgid(),
    });
}
