//! `hog leader-exit`: the process outlives its main thread, and grows.

use std::process::exit;
use std::thread;

use anyhow::{Context, Result};

use crate::growth::Growth;
use crate::process::own_pid;
use crate::say::{Who, say};
use crate::signals::Signals;

pub(crate) struct LeaderExit(pub(crate) Growth);

impl LeaderExit {
    pub(crate) fn run(self, signals: Signals) -> Result<u8> {
        let Self(growth) = self;
        growth.check()?;
        thread::Builder::new()
            .spawn(move || {
                // SAFETY: gettid(2) takes no argument.
                let tid = unsafe { libc::gettid() };
                say!("hog: leader {} exits, thread {tid} grows", own_pid());
                exit(growth.run(Who::Hog, &signals).into())
            })
            .context("cannot start a thread")?;
        // SAFETY: exit(2), unlike exit_group(2), ends only the calling thread. Nothing that the other
        // thread uses lives on this stack: it owns what it was given.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        unreachable!("exit(2) does not return")
    }
}
