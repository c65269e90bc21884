//! The children of a mode: started, ready, waited for, stopped.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::failure::exit_code;
use crate::memory::Hoard;
use crate::process::{self, End, own_pid};
use crate::say::{Who, say};
use crate::signals::{Signals, Wake, ready};

/// What a child knows about itself.
pub(crate) struct Member {
    parent: i32,
}

impl Member {
    pub(crate) fn who(&self) -> Who {
        Who::Child(own_pid())
    }

    /// Tells the parent, which counts in [`wait_until_ready`].
    pub(crate) fn ready(&self) {
        // SAFETY: kill(2) takes no pointer. The parent lives, or this child is about to be told to
        // stop (`end_with_parent`); it blocks this signal, so it is never killed by it.
        unsafe { libc::kill(self.parent, ready()) };
    }
}

/// Forks a child that ends in good order when its parent dies.
pub(crate) fn start(body: impl FnOnce(&Member) -> Result<u8>) -> Result<i32> {
    let member = Member { parent: own_pid() };
    process::fork(|| {
        end_with_parent(member.parent)
            .and_then(|()| body(&member))
            .unwrap_or_else(|error| {
                eprintln!("{}: {error:#}", member.who());
                exit_code(&error)
            })
    })
}

/// A child that holds anonymous memory until it is told to stop or its parent dies.
pub(crate) struct Holder {
    pub(crate) size: u64,
    pub(crate) oom_score_adj: Option<i16>,
    /// How long it stays when its parent is dead.
    pub(crate) linger: Duration,
}

impl Holder {
    pub(crate) fn start(&self, signals: &Signals) -> Result<i32> {
        let Self {
            size,
            oom_score_adj,
            linger,
        } = *self;
        start(|member| {
            oom_score_adj.map_or(Ok(()), process::set_oom_score_adj)?;
            let mut hoard = Hoard::anonymous();
            hoard.fill(size)?;
            member.ready();
            signals.stopped_within(None);
            if process::parent() != member.parent && linger > Duration::ZERO {
                say!("{}: alive, its parent is dead", member.who());
                signals.stopped_within(Some(linger));
            }
            Ok(0)
        })
    }
}

/// Waits until that many children are ready ([`Wake::Ready`]) or hog is told to stop
/// ([`Wake::Stop`]); a child that ends before that is an error.
pub(crate) fn wait_until_ready(children: usize, signals: &Signals) -> Result<Wake> {
    let mut told = 0;
    while told < children {
        match signals.wait(None) {
            Wake::Ready => told += 1,
            Wake::Stop => return Ok(Wake::Stop),
            Wake::Timeout => {}
            Wake::Child => {
                if let Some((pid, end)) = process::reap() {
                    let hint = match end {
                        End::Killed(_) => "; is the limit too low for what they hold?",
                        End::Exited(_) => "",
                    };
                    bail!("child {pid} {end} before all were ready{hint}");
                }
            }
        }
    }
    Ok(Wake::Ready)
}

/// Waits for the last of `members` and tells how each of them ended until then, taking those out;
/// `None` if it was told to stop first.
pub(crate) fn wait_for_last(who: Who, members: &mut Vec<i32>, signals: &Signals) -> Option<End> {
    let last = *members.last()?;
    loop {
        if signals.wait(None) == Wake::Stop {
            say!("{who}: told to stop");
            return None;
        }
        while let Some((pid, end)) = process::reap() {
            members.retain(|&member| member != pid);
            say!("{who}: child {pid} {end}");
            if pid == last {
                return Some(end);
            }
        }
    }
}

/// Ends children in good order and reaps them.
pub(crate) fn stop(pids: &[i32]) {
    for &pid in pids {
        // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
    for &pid in pids {
        process::wait(pid);
    }
}

/// Asks for SIGTERM when the parent dies, so that nobody is left behind. Not SIGKILL: to a watcher
/// that would look like one more kill from the dying parent.
fn end_with_parent(parent: i32) -> Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and no pointer.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } != 0 {
        return Err(io::Error::last_os_error())
            .context("cannot ask for a signal at parent's death");
    }
    // The parent may have died before that. Across the border of a PID namespace it shows as 0.
    if ![parent, 0].contains(&process::parent()) {
        std::process::exit(0);
    }
    Ok(())
}
