//! `signal:signal_generate`: the kernel sends a signal.
//!
//! kernel/signal.c `__send_signal_locked`. The OOM killer sends SIGKILL just before it marks a
//! victim and, without any mark, to every other process that shares the victim's mm. That makes
//! this hook the witness that a mark was a kill.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_tracepoint, raw_tracepoint, tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext, TracePointContext},
};
use oom_probe_common::{
    ledger::Count,
    record::{Header, Target, hook, kind},
};

use crate::{
    emit::{Wake, header, submit},
    globals::{offset, setting},
    log,
    maps::{Buffer, count, is_live, last_mark},
    mark::{self, PF_EXITING, ThreadRecord},
    read::{Address, Direct, Probe, Read},
    task,
};

const SIGKILL: u32 = 9;
/// `SEND_SIG_PRIV` of include/linux/sched/signal.h: the kernel itself is the sender. The value
/// stands for a pointer and is never followed.
const SEND_SIG_PRIV: u64 = 1;
/// `SI_KERNEL` of include/uapi/asm-generic/siginfo.h: what the plain tracepoint shows as the code
/// where the kernel itself is the sender (include/trace/events/signal.h `TP_STORE_SIGINFO`).
const SI_KERNEL: u32 = 0x80;

/// Minimum kernel: 5.8.
#[raw_tracepoint(tracepoint = "signal_generate")]
fn signal_raw_tp(ctx: RawTracePointContext) -> u32 {
    if ctx.arg::<u32>(0) == SIGKILL && ctx.arg::<u64>(1) == SEND_SIG_PRIV {
        sent::<Probe>(ctx.arg(2), hook::RAW_TP);
    }
    0
}

/// The same by direct loads. Minimum kernel: 5.11.
#[btf_tracepoint(function = "signal_generate")]
fn signal_tp_btf(ctx: BtfTracePointContext) -> u32 {
    if ctx.arg::<u32>(0) == SIGKILL && ctx.arg::<u64>(1) == SEND_SIG_PRIV {
        sent::<Direct>(ctx.arg(2), hook::TP_BTF);
    }
    0
}

/// Where only plain tracepoints are to be had: the thread that the signal goes to, at the offsets
/// that the `format` gives. Whether the sender is dying itself cannot be seen here.
#[tracepoint(category = "signal", name = "signal_generate")]
fn signal_tracepoint(ctx: TracePointContext) -> u32 {
    // SAFETY: the offsets are those of fields of this tracepoint, each of four bytes.
    let field = |offset: u32| unsafe { ctx.read_at::<u32>(offset as usize) };
    if is_live()
        && field(setting!(signal_sig)) == Ok(SIGKILL)
        && field(setting!(signal_code)) == Ok(SI_KERNEL)
        && let Ok(tid) = field(setting!(signal_pid))
    {
        count(Count::Signals);
        log::debug!("signal_generate: SIGKILL to thread {}", tid);
        let record = mark::thread(kind::SIGNAL, tid, 0, hook::TRACEPOINT);
        let len = size_of::<ThreadRecord>() as u64;
        let data = (&raw const record).cast();
        submit(data, len, Wake::Later, Count::DroppedSignals);
    }
    0
}

#[repr(C)]
struct TargetRecord {
    header: Header,
    target: Target,
}

#[inline(always)]
fn sent<R: Read>(victim: Address, hook: u8) {
    if !is_live() {
        return;
    }
    // A dying init of a PID namespace kills its children (kernel/pid_namespace.c
    // `zap_pid_ns_processes`): none of the OOM killer's business.
    if R::member::<u32>(R::current(), offset!(task_flags)).value & PF_EXITING != 0 {
        return;
    }
    count(Count::Signals);
    let shares = shares_marked_mm::<R>(victim);
    log::debug!(
        "signal_generate: SIGKILL, a marked mm: {}",
        u32::from(shares)
    );
    if shares || setting!(whole_signals) == 1 {
        whole::<R>(victim, hook, if shares { Wake::Now } else { Wake::Later });
        return;
    }
    let record = TargetRecord {
        header: header(kind::SIGNAL, hook, size_of::<TargetRecord>()),
        target: task::target::<R>(victim),
    };
    let len = size_of::<TargetRecord>() as u64;
    submit(
        (&raw const record).cast(),
        len,
        Wake::Later,
        Count::DroppedSignals,
    );
}

/// All there is to know, for a task that no mark will describe.
#[inline(always)]
fn whole<R: Read>(victim: Address, hook: u8, wake: Wake) {
    // The sender holds the target's siglock.
    let Some(record) = mark::record::<R>(Buffer::Signal, victim, kind::SIGNAL_WHOLE, hook) else {
        return;
    };
    record.submit(wake, Count::DroppedSignals);
    if setting!(whole_signals) == 1 {
        mark::remember(record.mm);
    }
}

/// Whether the last victim that this very task had marked shares its mm with the target.
#[inline(always)]
fn shares_marked_mm<R: Read>(victim: Address) -> bool {
    let Some(last) = last_mark() else {
        return false;
    };
    last.mm != 0
        && last.current == bpf_get_current_pid_tgid()
        && task::mm::<R>(victim).value == last.mm
}
