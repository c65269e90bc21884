//! What else BTF tells of the kernel, where a version number would mislead.

use crate::btf::{Btf, Kind};

/// What the memory of BPF maps and programs counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemlockAccounting {
    /// The memory cgroup of whoever makes them: since Linux 5.11.
    Cgroup,
    /// `RLIMIT_MEMLOCK`, which then has to be raised.
    Rlimit,
    /// BTF does not tell.
    Unknown,
}

/// Until 5.10 `bpf_map` had a member `memory` with the account that it was charged to
/// (kernel/bpf/syscall.c `bpf_map_charge_init`).
pub(super) fn memlock_accounting(btf: &Btf) -> MemlockAccounting {
    let Some(map) = btf.find(Kind::Struct, "bpf_map").next() else {
        return MemlockAccounting::Unknown;
    };
    match btf.member(map, "memory") {
        Ok(Some(_)) => MemlockAccounting::Rlimit,
        Ok(None) => MemlockAccounting::Cgroup,
        Err(_) => MemlockAccounting::Unknown,
    }
}

/// Whether the kernel has a helper function of that name; `None` where BTF does not list them
/// (`enum bpf_func_id` of include/uapi/linux/bpf.h).
pub(super) fn has_helper(btf: &Btf, name: &str) -> Option<bool> {
    btf.enumerator("bpf_func_id", "BPF_FUNC_unspec")?;
    Some(btf.enumerator("bpf_func_id", name).is_some())
}
