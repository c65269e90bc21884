//! `hog pidns`: PID 1 of a new PID namespace with children, as a container has it.
//!
//! When PID 1 dies the kernel sends SIGKILL to everyone in its namespace, from the context of the
//! dying process (kernel/pid_namespace.c, `zap_pid_ns_processes`). Those are no OOM kills.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use hog::units::{format_size, parse_nonzero_size};

use crate::growth::Growth;
use crate::members::{self, Holder, Member};
use crate::process::End;
use crate::say::{Who, say};
use crate::setup;
use crate::signals::{Signals, Wake};

#[derive(Args, Debug)]
pub(crate) struct Pidns {
    /// Children of PID 1 that hold memory
    #[arg(long, value_name = "N", default_value_t = 3)]
    children: u16,

    /// Who grows
    #[arg(long, value_enum, default_value = "init")]
    victim: Victim,

    /// What each child holds
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_nonzero_size)]
    each: u64,

    /// PID 1 joins this cgroup, as a container's does while its runtime stays outside: the path of
    /// its cgroup.procs; may be given per hierarchy
    #[arg(long, value_name = "PATH")]
    init_cgroup_procs: Vec<PathBuf>,

    #[command(flatten)]
    growth: Growth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Victim {
    /// PID 1 of the namespace
    Init,
    /// One more child of it
    Child,
}

impl Pidns {
    pub(crate) fn run(&self, signals: &Signals) -> Result<u8> {
        if self.init_cgroup_procs.is_empty() {
            self.growth.check()?;
        }
        // SAFETY: unshare(2) takes a flag; it decides about children to come, of which there are none.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
            return Err(io::Error::last_os_error())
                .context("cannot make a PID namespace; it needs CAP_SYS_ADMIN (try as root)");
        }
        let mut init = vec![members::start(|member| self.init(member, signals))?];
        say!("hog: {} is PID 1 of a new PID namespace", init[0]);
        let end = members::wait_for_last(Who::Hog, &mut init, signals);
        members::stop(&init);
        Ok(end.map_or(0, End::exit_code))
    }

    fn init(&self, member: &Member, signals: &Signals) -> Result<u8> {
        setup::join(&self.init_cgroup_procs)?;
        self.growth.check()?;
        let holder = Holder {
            size: self.each,
            oom_score_adj: None,
            linger: Duration::ZERO,
        };
        let mut children = Vec::new();
        for _ in 0..self.children {
            children.push(holder.start(signals)?);
        }
        if members::wait_until_ready(children.len(), signals)? == Wake::Stop {
            members::stop(&children);
            return Ok(0);
        }
        say!(
            "{}: {} children hold {} each",
            member.who(),
            self.children,
            format_size(self.each)
        );
        let code = match self.victim {
            Victim::Init => self.growth.run(member.who(), signals),
            Victim::Child => {
                children.push(members::start(|child| {
                    Ok(self.growth.run(child.who(), signals))
                })?);
                members::wait_for_last(member.who(), &mut children, signals)
                    .map_or(0, End::exit_code)
            }
        };
        members::stop(&children);
        Ok(code)
    }
}
