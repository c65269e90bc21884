//! `hog exiting`: the OOM killer's choice is dying anyway.
//!
//! A child gets SIGKILL and is halted in its exit by ptrace(2), before it gives its memory back: the
//! state that a large process passes through in a moment. When hog then runs into the limit, the
//! kernel finds that its victim will free memory soon, marks it and kills nobody (mm/oom_kill.c,
//! `task_will_free_mem`); the reaper takes the memory of the marked, two seconds later since 5.18.

use std::io;
use std::ptr;

use anyhow::{Context, Result, bail};
use clap::Args;
use hog::units::{format_size, parse_nonzero_size};

use crate::growth::Growth;
use crate::members;
use crate::memory::Hoard;
use crate::process;
use crate::say::{Who, say};
use crate::signals::{Signals, Wake};

#[derive(Args, Debug)]
pub(crate) struct Exiting {
    /// What the exiting child holds; more than hog, so that the OOM killer chooses it
    #[arg(value_parser = parse_nonzero_size)]
    size: u64,

    #[command(flatten)]
    growth: Growth,
}

impl Exiting {
    pub(crate) fn run(&self, signals: &Signals) -> Result<u8> {
        self.growth.check()?;
        let child = members::start(|member| {
            let mut hoard = Hoard::anonymous();
            hoard.fill(self.size)?;
            member.ready();
            signals.stopped_within(None);
            Ok(0)
        })?;
        let code = self.run_beside(child, signals);
        let_go(child);
        code
    }

    fn run_beside(&self, child: i32, signals: &Signals) -> Result<u8> {
        if members::wait_until_ready(1, signals)? == Wake::Stop {
            return Ok(0);
        }
        halt_in_exit(child)?;
        say!(
            "hog: {child} is being killed and stands in its exit with {}",
            format_size(self.size)
        );
        Ok(self.growth.run(Who::Hog, signals))
    }
}

/// Kills the child, and returns when it has stopped on the way with its memory still held.
///
/// With SIGKILL, since a lone thread that calls exit is not yet known to be dying at that point on
/// kernels before 5.17 (kernel/exit.c, `do_group_exit`).
fn halt_in_exit(child: i32) -> Result<()> {
    let options = libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_EXITKILL;
    // SAFETY: PTRACE_SEIZE takes options by value and no address; the pid is that of our child.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, child, ptr::null_mut::<u8>(), options) };
    if seized != 0 {
        return Err(io::Error::last_os_error())
            .context("cannot trace the child; does a seccomp profile forbid ptrace(2)?");
    }
    // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
    unsafe { libc::kill(child, libc::SIGKILL) };
    match process::wait_for_stop(child) {
        Some(libc::PTRACE_EVENT_EXIT) => Ok(()),
        event => bail!("the child did not stop in its exit (event {event:?})"),
    }
}

/// Lets the child go on with its exit, if it is still there, and reaps it.
fn let_go(child: i32) {
    let nothing = ptr::null_mut::<u8>();
    // SAFETY: PTRACE_DETACH uses no address and passes no signal on; a child that is not traced or
    // gone is an error that changes nothing.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, child, nothing, nothing) };
    members::stop(&[child]);
}
