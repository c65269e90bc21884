//! What there is to know of a victim and of the task that triggered its death.

use aya_ebpf::helpers::bpf_get_current_comm;
use oom_probe_common::{
    offsets::ABSENT,
    record::{Body, COMM_LEN, Target, Trigger, Victim, valid},
};

use crate::{
    cgroup,
    globals::offset,
    read::{Address, Got, Read, set},
};

/// Depth of nested PID namespaces up to which the victim's own pid is looked up; the kernel's
/// limit is 32 (`MAX_PID_NS_LEVEL`), containers use one to three.
const PID_NS_LEVELS: u32 = 6;

/// A record part that holds nothing yet.
pub(crate) const EMPTY: Body = Body {
    valid: 0,
    victim: Victim {
        tgid: 0,
        tid: 0,
        start_time_ns: 0,
        mm: 0,
        total_vm: 0,
        rss: [0; 4],
        pgtables_bytes: 0,
        parent_memcg: 0,
        parent_tgid: 0,
        uid: 0,
        pid_ns_level: 0,
        pid_ns_inum: 0,
        ns_pid: 0,
        oom_score_adj: 0,
        comm: [0; COMM_LEN],
    },
    trigger: Trigger {
        memcg: 0,
        flags: 0,
        reserved: 0,
        comm: [0; COMM_LEN],
    },
    memcg: 0,
    dfl_cgroup: 0,
    flags: 0,
    levels: 0,
    trigger_levels: 0,
    unit_levels: 0,
    reserved: [0; 3],
};

/// Ids, start time and mm: enough to know the task again.
#[inline(always)]
pub(crate) fn target<R: Read>(task: Address) -> Target {
    let mut target = Target {
        valid: 0,
        tgid: 0,
        tid: 0,
        start_time_ns: 0,
        mm: 0,
    };
    target.tid = R::member(task, offset!(task_pid)).value;
    set!(
        target,
        valid::IDS,
        tgid = R::member(task, offset!(task_tgid))
    );
    let leader = R::follow(task, offset!(task_group_leader));
    let start = R::member(leader, offset!(task_start_boottime));
    set!(target, valid::START_TIME, start_time_ns = start);
    set!(target, valid::MM, mm = mm::<R>(task));
    target
}

/// Address of the mm.
#[inline(always)]
pub(crate) fn mm<R: Read>(task: Address) -> Got<u64> {
    let value = R::follow(task, offset!(task_mm)) as u64;
    let ok = u64::from(value != 0);
    Got { value, ok }
}

/// Everything of the victim but its cgroup.
#[inline(always)]
pub(crate) fn victim<R: Read>(body: &mut Body, task: Address) {
    let target = target::<R>(task);
    body.valid |= target.valid;
    body.victim.tgid = target.tgid;
    body.victim.tid = target.tid;
    body.victim.start_time_ns = target.start_time_ns;
    body.victim.mm = target.mm;
    set!(body, valid::COMM, victim.comm = comm::<R>(task));
    let cred = R::follow(task, offset!(task_real_cred));
    set!(
        body,
        valid::UID,
        victim.uid = R::member(cred, offset!(cred_uid))
    );
    let signal = R::follow(task, offset!(task_signal));
    let adj = R::member::<i16>(signal, offset!(signal_oom_score_adj));
    let adj = Got {
        value: i32::from(adj.value),
        ok: adj.ok,
    };
    set!(body, valid::OOM_SCORE_ADJ, victim.oom_score_adj = adj);
    pid_namespace::<R>(body, R::follow(signal, offset!(signal_pid_tgid)));
    if target.mm != 0 {
        memory::<R>(body, R::follow(task, offset!(task_mm)));
    }
    let parent = R::follow(task, offset!(task_real_parent));
    set!(
        body,
        valid::PARENT,
        victim.parent_tgid = R::member(parent, offset!(task_tgid))
    );
    set!(
        body,
        valid::PARENT_MEMCG,
        victim.parent_memcg = cgroup::memory_id::<R>(parent)
    );
}

/// The name, byte by byte where the verifier checks each load against the member's type.
#[inline(always)]
fn comm<R: Read>(task: Address) -> Got<[u8; COMM_LEN]> {
    let offset = offset!(task_comm);
    if !R::TYPED {
        return R::member(task, offset);
    }
    let mut value = [0; COMM_LEN];
    let mut ok = 1;
    for (i, byte) in value.iter_mut().enumerate() {
        let got = R::member(task.wrapping_add(i), offset);
        *byte = got.value;
        ok &= got.ok;
    }
    Got { value, ok }
}

/// Size of the address space and what of it is resident.
#[inline(always)]
fn memory<R: Read>(body: &mut Body, mm: Address) {
    set!(
        body,
        valid::TOTAL_VM,
        victim.total_vm = R::member(mm, offset!(mm_total_vm))
    );
    let pgtables = R::member(mm, offset!(mm_pgtables_bytes));
    set!(body, valid::PGTABLES, victim.pgtables_bytes = pgtables);
    let (first, stride) = (offset!(mm_rss_count), offset!(mm_rss_stride));
    let mut ok = 1;
    for n in 0..4 {
        let at = mm.wrapping_add(n * stride as usize);
        let count = R::member::<i64>(at, first);
        body.victim.rss[n] = count.value;
        ok &= count.ok;
    }
    body.valid |= ok << valid::RSS.trailing_zeros();
}

/// The thread group's id in its own PID namespace, and which that is.
#[inline(always)]
fn pid_namespace<R: Read>(body: &mut Body, pid: Address) {
    let level = R::member::<u32>(pid, offset!(pid_level)).value;
    let (numbers, size) = (offset!(pid_numbers), offset!(upid_size));
    if numbers == ABSENT || size == ABSENT {
        return;
    }
    // Compared rather than computed: a typed load needs an offset that is a constant.
    for n in 0..PID_NS_LEVELS {
        if n == level {
            let upid = pid.wrapping_add((numbers + n * size) as usize);
            let namespace = R::follow(upid, offset!(upid_ns));
            body.victim.pid_ns_level = level;
            body.victim.ns_pid = R::member(upid, offset!(upid_nr)).value;
            let inum = R::member(namespace, offset!(pid_namespace_inum));
            set!(body, valid::PID_NS, victim.pid_ns_inum = inum);
        }
    }
}

/// Name, flags and memory cgroup of the current task.
#[inline(always)]
pub(crate) fn trigger<R: Read>(body: &mut Body, current: Address) {
    if let Ok(comm) = bpf_get_current_comm() {
        body.trigger.comm = comm;
        body.valid |= valid::TRIGGER_COMM;
    }
    set!(
        body,
        valid::TRIGGER_FLAGS,
        trigger.flags = R::member(current, offset!(task_flags))
    );
    set!(
        body,
        valid::TRIGGER_MEMCG,
        trigger.memcg = cgroup::memory_id::<R>(current)
    );
}
