//! The kernel programs of oom-probe.
//!
//! Each hook is a thin entry point over one inlined body: [`mark`] where the OOM killer marks its
//! victims, [`signal`] where the kernel sends them SIGKILL, [`context`] around one run of
//! `oom_kill_process`. [`task`] and [`cgroup`] read what there is to know of a victim, at the
//! kill, into a scratch buffer that [`emit`] puts into the ring.

#![no_std]
#![no_main]
#![expect(
    unstable_features,
    reason = "the target needs an unstable compiler anyway: build-std"
)]
#![feature(asm_experimental_arch)]

mod cgroup;
mod context;
mod emit;
mod globals;
mod log;
mod maps;
mod mark;
mod read;
mod signal;
mod task;
mod unit;
mod walk;

/// The kernel lends its GPL-only helpers to programs with this licence.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
