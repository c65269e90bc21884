//! `oom_kill_process`: one run of the OOM killer that chose a victim.
//!
//! mm/oom_kill.c. Its `oom_control` says which memory cgroup ran out and why; it is valid only
//! between entry and return.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use oom_probe_common::{
    ledger::Count,
    record::{Domain, Header, domain, hook, kind},
};

use crate::{
    cgroup,
    emit::{Wake, header, submit},
    globals::offset,
    log,
    maps::{count, is_live},
    read::{Address, Direct, Probe, Read, set},
};

/// Minimum kernel: 5.5.
#[fentry(function = "oom_kill_process")]
fn begin_fentry(ctx: FEntryContext) -> u32 {
    begin::<Probe>(ctx.arg(0), hook::FENTRY);
    0
}

/// Where `bpf_probe_read_kernel` is refused.
#[fentry(function = "oom_kill_process")]
fn begin_fentry_direct(ctx: FEntryContext) -> u32 {
    begin::<Direct>(ctx.arg(0), hook::FENTRY);
    0
}

/// Minimum kernel: 5.5.
#[fexit(function = "oom_kill_process")]
fn end_fexit(_ctx: FExitContext) -> u32 {
    end(hook::FENTRY);
    0
}

/// Where the kernel has no BPF trampolines.
#[kprobe(function = "oom_kill_process")]
fn begin_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(oc) = ctx.arg(0) {
        begin::<Probe>(oc, hook::KPROBE);
    }
    0
}

/// Where the kernel has no BPF trampolines.
#[kretprobe(function = "oom_kill_process")]
fn end_kretprobe(_ctx: RetProbeContext) -> u32 {
    end(hook::KPROBE);
    0
}

#[repr(C)]
struct BeginRecord {
    header: Header,
    domain: Domain,
}

#[inline(always)]
fn begin<R: Read>(oc: Address, hook: u8) {
    if !is_live() {
        return;
    }
    count(Count::Begins);
    log::debug!("oom_kill_process: begins");
    let mut domain = Domain {
        valid: 0,
        memcg: 0,
        usage: 0,
        max: 0,
        totalpages: 0,
        points: 0,
        constraint: 0,
        order: 0,
    };
    let memcg = R::member::<Address>(oc, offset!(oc_memcg));
    if memcg.value.is_null() {
        domain.valid |= memcg.ok << domain::GLOBAL.trailing_zeros();
    } else {
        set!(
            domain,
            domain::MEMCG,
            memcg = cgroup::id_of_memcg::<R>(memcg.value)
        );
        domain.usage = R::member(memcg.value, offset!(memcg_memory_usage)).value;
        domain.max = R::member(memcg.value, offset!(memcg_memory_max)).value;
    }
    set!(
        domain,
        domain::CONSTRAINT,
        constraint = R::member(oc, offset!(oc_constraint))
    );
    set!(
        domain,
        domain::ORDER,
        order = R::member(oc, offset!(oc_order))
    );
    set!(
        domain,
        domain::TOTALPAGES,
        totalpages = R::member(oc, offset!(oc_totalpages))
    );
    set!(
        domain,
        domain::POINTS,
        points = R::member(oc, offset!(oc_chosen_points))
    );
    let record = BeginRecord {
        header: header(kind::BEGIN, hook, size_of::<BeginRecord>()),
        domain,
    };
    let len = size_of::<BeginRecord>() as u64;
    submit(
        (&raw const record).cast(),
        len,
        Wake::Later,
        Count::DroppedContext,
    );
}

#[inline(always)]
fn end(hook: u8) {
    if !is_live() {
        return;
    }
    count(Count::Ends);
    log::debug!("oom_kill_process: ends");
    let record = header(kind::END, hook, size_of::<Header>());
    let len = size_of::<Header>() as u64;
    submit(
        (&raw const record).cast(),
        len,
        Wake::Later,
        Count::DroppedContext,
    );
}
