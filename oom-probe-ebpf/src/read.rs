//! Two ways to read kernel memory behind one trait.
//!
//! A record takes some two hundred reads. Were each a branch, the verifier would have to follow
//! every combination of success and failure; so a read that fails yields zero and a flag, without
//! a branch, and what is read through a null pointer fails too.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel,
};
use oom_probe_common::offsets::ABSENT;

/// An address in the kernel; null where there is none.
pub(crate) type Address = *const u8;

/// What a read yields.
#[derive(Clone, Copy)]
pub(crate) struct Got<T> {
    /// Zero if the read failed.
    pub(crate) value: T,
    /// 1 if it succeeded, else 0.
    pub(crate) ok: u64,
}

/// Types that may be read from anywhere: every bit pattern is a value, and zero is one.
pub(crate) trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for i16 {}
impl Plain for u32 {}
impl Plain for i32 {}
impl Plain for u64 {}
impl Plain for i64 {}
impl Plain for Address {}
impl<const N: usize> Plain for [u8; N] {}

/// Reads members of kernel structures.
pub(crate) trait Read {
    /// Whether the verifier follows the types: it then refuses what they do not allow, such as
    /// going from a `cgroup_subsys_state` to the `mem_cgroup` around it.
    const TYPED: bool;

    /// Reads at an address.
    fn at<T: Plain>(address: Address) -> Got<T>;

    /// The current task.
    fn current() -> Address;

    /// Reads the member at `offset`, which fails where this kernel has no such member.
    #[inline(always)]
    fn member<T: Plain>(base: Address, offset: u32) -> Got<T> {
        if offset == ABSENT {
            // SAFETY: zero is a value of every plain type.
            let value = unsafe { MaybeUninit::zeroed().assume_init() };
            return Got { value, ok: 0 };
        }
        Self::at(base.wrapping_add(offset as usize))
    }

    /// Follows the pointer at `offset`; null if that fails.
    #[inline(always)]
    fn follow(base: Address, offset: u32) -> Address {
        Self::member::<Address>(base, offset).value
    }
}

/// By `bpf_probe_read_kernel`: any address, at the price of a call; refused under
/// lockdown=confidentiality.
pub(crate) struct Probe;

impl Read for Probe {
    const TYPED: bool = false;

    #[inline(always)]
    fn at<T: Plain>(address: Address) -> Got<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the destination is large enough; the helper checks the address itself and fills
        // the destination with zeros when it is a bad one.
        let (failed, value) = unsafe {
            let size = size_of::<T>() as u32;
            let failed = bpf_probe_read_kernel(value.as_mut_ptr().cast(), size, address.cast());
            (failed as u64, value.assume_init())
        };
        // An error number is negative.
        let ok = (failed >> 63) ^ 1;
        Got { value, ok }
    }

    #[inline(always)]
    fn current() -> Address {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_get_current_task() as Address }
    }
}

/// By plain loads from pointers whose types the verifier knows (`tp_btf`): no helper to refuse.
pub(crate) struct Direct;

impl Read for Direct {
    const TYPED: bool = true;

    #[inline(always)]
    fn at<T: Plain>(address: Address) -> Got<T> {
        // SAFETY: the verifier accepts the load only if BTF knows such a member there, and turns
        // a fault into a zero.
        let value = unsafe { address.cast::<T>().read_volatile() };
        Got { value, ok: 1 }
    }

    #[inline(always)]
    fn current() -> Address {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_get_current_task_btf() as Address }
    }
}

/// Puts what was read where it belongs, and notes in the bits of `valid` that it is there.
macro_rules! set {
    ($record:expr, $bit:path, $($place:ident).+ = $got:expr) => {
        let got = $got;
        $record.$($place).+ = got.value;
        $record.valid |= got.ok << $bit.trailing_zeros();
    };
}

pub(crate) use set;
