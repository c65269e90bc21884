//! `hog herd`: the parent lives on while its children grow and die.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use hog::units::parse_duration;

use crate::growth::Growth;
use crate::members;
use crate::process::{self, End};
use crate::say::say;
use crate::signals::{Signals, Wake};

#[derive(Args, Debug)]
pub(crate) struct Herd {
    /// Children per round
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    children: u32,

    /// Children that grow at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    parallel: u32,

    /// Rest between rounds
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    pause: Duration,

    /// How many rounds, or `forever`
    #[arg(long, value_name = "N|forever", default_value = "1", value_parser = parse_rounds)]
    rounds: Rounds,

    /// How eagerly the OOM killer takes a child; the parent is safe only with `--oom-score-adj -1000`,
    /// since while all children are dying it is the only one left
    #[arg(
        long, value_name = "N", default_value_t = 1000, allow_negative_numbers = true,
        value_parser = clap::value_parser!(i16).range(-1000..=1000)
    )]
    child_oom_score_adj: i16,

    #[command(flatten)]
    growth: Growth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounds {
    Forever,
    Count(u64),
}

impl Rounds {
    fn includes(self, round: u64) -> bool {
        match self {
            Self::Forever => true,
            Self::Count(count) => round < count,
        }
    }
}

fn parse_rounds(text: &str) -> Result<Rounds, String> {
    match text {
        "forever" => Ok(Rounds::Forever),
        number => number
            .parse()
            .map(Rounds::Count)
            .map_err(|_| format!("`{text}` is no number of rounds; try 3 or forever")),
    }
}

#[derive(Default)]
struct Tally {
    ended: u64,
    killed: u64,
}

impl Herd {
    pub(crate) fn run(&self, signals: &Signals) -> Result<u8> {
        self.growth.check()?;
        let mut tally = Tally::default();
        let mut round = 0;
        while self.rounds.includes(round) {
            let rest = if round == 0 {
                Duration::ZERO
            } else {
                self.pause
            };
            if signals.stopped_within(Some(rest)) || self.round(signals, &mut tally)? == Wake::Stop
            {
                say!("hog: told to stop");
                break;
            }
            round += 1;
        }
        let Tally { ended, killed } = tally;
        say!("hog: {killed} of {ended} children killed by SIGKILL, parent alive");
        Ok(0)
    }

    fn round(&self, signals: &Signals, tally: &mut Tally) -> Result<Wake> {
        let mut running = Vec::new();
        let mut started = 0;
        while started < self.children || !running.is_empty() {
            while started < self.children && running.len() < self.parallel as usize {
                running.push(self.start(signals)?);
                started += 1;
            }
            if signals.wait(None) == Wake::Stop {
                members::stop(&running);
                return Ok(Wake::Stop);
            }
            while let Some((pid, end)) = process::reap() {
                // PID 1 of a container also reaps orphans that are none of its herd.
                if let Some(at) = running.iter().position(|&known| known == pid) {
                    running.swap_remove(at);
                    tally.ended += 1;
                    tally.killed += u64::from(end == End::Killed(libc::SIGKILL));
                    say!("hog: child {pid} {end}");
                }
            }
        }
        Ok(Wake::Child)
    }

    fn start(&self, signals: &Signals) -> Result<i32> {
        members::start(|member| {
            process::set_oom_score_adj(self.child_oom_score_adj)?;
            Ok(self.growth.run(member.who(), signals))
        })
    }
}
