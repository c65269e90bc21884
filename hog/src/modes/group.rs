//! `hog group`: a process and its children in one cgroup, for kills by memory.oom.group.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use hog::units::{format_size, parse_duration, parse_nonzero_size};

use crate::failure::Usage;
use crate::growth::Growth;
use crate::members::{self, Holder};
use crate::process::End;
use crate::say::{Who, say};
use crate::signals::{Signals, Wake};

/// The OOM killer never takes it, not even with its group.
const NEVER: i16 = -1000;

/// The pass over a group may take the parent long before the last child. Those that would end in
/// good order meanwhile could not be killed any more.
const FOR_THE_PASS: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub(crate) struct Group {
    /// How many processes there are, hog included
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..))]
    processes: u16,

    /// Who grows
    #[arg(long, value_enum, default_value = "member")]
    victim: Victim,

    /// What each of the others holds
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_nonzero_size)]
    each: u64,

    /// How many of the others get oom_score_adj -1000 and must survive; needs root
    #[arg(long, value_name = "N", default_value_t = 0)]
    spare: u16,

    /// How long a spared process outlives the rest
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    linger: Duration,

    #[command(flatten)]
    growth: Growth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Victim {
    /// hog itself, as PID 1 of a container would
    Leader,
    /// One of its children
    Member,
}

impl Group {
    pub(crate) fn run(&self, signals: &Signals) -> Result<u8> {
        self.growth.check()?;
        let holders = self.holders()?;
        let mut members = Vec::new();
        let end = self.run_members(holders, &mut members, signals);
        members::stop(&members);
        end
    }

    fn run_members(&self, holders: u16, members: &mut Vec<i32>, signals: &Signals) -> Result<u8> {
        for number in 0..holders {
            let holder = Holder {
                size: self.each,
                oom_score_adj: (number < self.spare).then_some(NEVER),
                linger: if number < self.spare {
                    self.linger
                } else {
                    FOR_THE_PASS
                },
            };
            members.push(holder.start(signals)?);
        }
        if members::wait_until_ready(members.len(), signals)? == Wake::Stop {
            return Ok(0);
        }
        say!(
            "hog: {holders} processes hold {} each",
            format_size(self.each)
        );
        match self.victim {
            Victim::Leader => Ok(self.growth.run(Who::Hog, signals)),
            Victim::Member => {
                members.push(members::start(|member| {
                    Ok(self.growth.run(member.who(), signals))
                })?);
                let end = members::wait_for_last(Who::Hog, members, signals);
                if end == Some(End::Killed(libc::SIGKILL)) {
                    say!("hog: {} others and this one live on", members.len());
                }
                Ok(end.map_or(0, End::exit_code))
            }
        }
    }

    /// Everyone but hog and, where that is a child, the one that grows.
    fn holders(&self) -> Result<u16, Usage> {
        let growers = match self.victim {
            Victim::Leader => 0,
            Victim::Member => 1,
        };
        let holders = self.processes - 1 - growers;
        if self.spare > holders {
            return Err(Usage(format!(
                "--spare {}: only {holders} of {} processes neither lead nor grow",
                self.spare, self.processes
            )));
        }
        Ok(holders)
    }
}
