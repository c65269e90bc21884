//! `hog shared-mm`: several processes, one address space.
//!
//! The OOM killer chooses one of them and kills the others for sharing its memory, without a
//! tracepoint, a counter or a log line (kernel mm/oom_kill.c, `__oom_kill_process`).

use std::io;
use std::ptr;

use anyhow::{Context, Result};
use clap::Args;

use crate::growth::Growth;
use crate::members;
use crate::process::own_pid;
use crate::say::{Who, say};
use crate::signals::Signals;

/// One frame that does nothing but wait needs little; an unoptimised one a bit more.
const STACK: usize = 64 << 10;

#[derive(Args, Debug)]
pub(crate) struct SharedMm {
    /// How many processes share the memory, hog included
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..))]
    processes: u16,

    #[command(flatten)]
    growth: Growth,
}

impl SharedMm {
    pub(crate) fn run(&self, signals: &Signals) -> Result<u8> {
        self.growth.check()?;
        let mut sharers = Vec::new();
        for _ in 1..self.processes {
            sharers.push(start_sharer(signals)?);
        }
        say!("hog: {} shares its memory with {sharers:?}", own_pid());
        let code = self.growth.run(Who::Hog, signals);
        members::stop(&sharers);
        Ok(code)
    }
}

fn start_sharer(signals: &Signals) -> Result<i32> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let stack = unsafe { libc::mmap(ptr::null_mut(), STACK, protection, flags, -1, 0) };
    if stack == libc::MAP_FAILED {
        return Err(io::Error::last_os_error()).context("cannot map a stack");
    }
    // SAFETY: the child runs on a stack of its own that is never unmapped; `wait_for_stop` follows
    // the rules below; the signal set outlives the children, since `run` reaps them before it returns.
    let pid = unsafe {
        let top = stack.byte_add(STACK);
        let set: *const libc::sigset_t = signals.as_set();
        libc::clone(
            wait_for_stop,
            top,
            libc::CLONE_VM | libc::SIGCHLD,
            set.cast_mut().cast(),
        )
    };
    if pid < 0 {
        return Err(io::Error::last_os_error()).context("cannot clone");
    }
    Ok(pid)
}

/// Shares everything with hog, thread-local storage too: it may call the kernel and nothing else.
/// A wait that fails would write hog's errno, so the only wait it does is one that no handler can
/// interrupt.
extern "C" fn wait_for_stop(set: *mut libc::c_void) -> libc::c_int {
    // The kernel's sigset_t, smaller than the C library's.
    const KERNEL_SIGSET_BYTES: usize = 8;
    let forever = ptr::null::<libc::timespec>();
    let no_info = ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: raw system calls on memory that outlives this process; the set starts with the kernel's.
    unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGTERM);
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            set,
            no_info,
            forever,
            KERNEL_SIGSET_BYTES,
        );
    }
    0
}
