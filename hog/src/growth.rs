//! Growing: so much per step, so often, up to here.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use hog::cgroup::Hierarchy;
use hog::units::{format_size, parse_duration, parse_mebibytes, parse_nonzero_size};

use crate::failure::Usage;
use crate::memory::{Hoard, Kind};
use crate::say::{Progress, Who, say};
use crate::signals::Signals;
use crate::source::Source;

const DEFAULT_STEP: u64 = 1 << 20;

/// How a process grows.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Growth")]
pub(crate) struct Growth {
    /// Memory per step; K, M and G are powers of 1024
    #[arg(long, value_name = "SIZE", env = "HOG_STEP", value_parser = parse_nonzero_size)]
    step: Option<u64>,

    /// Memory per step in MiB; --step wins [default: 1]
    #[arg(
        long, value_name = "MIB", env = "MEMORY_INCREMENT_MB", value_parser = parse_mebibytes
    )]
    memory_increment_mb: Option<u64>,

    /// Time between steps; 0 grows as fast as the machine can
    #[arg(
        long, value_name = "DURATION", env = "HOG_INTERVAL", default_value = "100ms",
        value_parser = parse_duration
    )]
    interval: Duration,

    /// Take this much at once before growing
    #[arg(long, value_name = "SIZE", env = "HOG_BASE", value_parser = parse_nonzero_size)]
    base: Option<u64>,

    /// Wait this long before growing
    #[arg(
        long, value_name = "DURATION", env = "HOG_AFTER", default_value = "0",
        value_parser = parse_duration
    )]
    after: Duration,

    /// Grow up to this size, or `forever`; without it forever where a memory limit applies, else not at all
    #[arg(long, value_name = "SIZE|forever", env = "HOG_MAX", value_parser = parse_max)]
    max: Option<Max>,

    /// What to do at --max: `none` ends, `forever` stays, a duration stays that long
    #[arg(long, value_name = "DURATION|forever|none", default_value = "none", value_parser = parse_hold)]
    hold: Hold,

    #[command(flatten)]
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Max {
    Forever,
    Bytes(u64),
}

/// How long to stay once grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Forever,
    For(Duration),
}

pub(crate) fn parse_hold(text: &str) -> Result<Hold, String> {
    match text {
        "forever" => Ok(Hold::Forever),
        "none" => Ok(Hold::For(Duration::ZERO)),
        duration => parse_duration(duration).map(Hold::For),
    }
}

fn parse_max(text: &str) -> Result<Max, String> {
    match text {
        "forever" => Ok(Max::Forever),
        size => parse_nonzero_size(size).map(Max::Bytes),
    }
}

impl Hold {
    /// Stays; true if it was told to stop meanwhile.
    pub(crate) fn stay(self, signals: &Signals) -> bool {
        signals.stopped_within(match self {
            Self::Forever => None,
            Self::For(duration) => Some(duration),
        })
    }
}

impl Growth {
    /// Refuses what would take the whole machine or fill a disk without having been asked to.
    pub(crate) fn check(&self) -> Result<()> {
        let limit = || {
            let hierarchy = Hierarchy::detect()?;
            hierarchy.limit_of_self()
        };
        // Where no limit can be read, none is known to protect the machine.
        refuse_unbounded(self, limit().unwrap_or(None)).map_err(Into::into)
    }

    /// Grows until --max, the OOM killer or a signal; returns the exit code.
    pub(crate) fn run(&self, who: Who, signals: &Signals) -> u8 {
        match self.try_run(who, signals) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{who}: {error:#}");
                1
            }
        }
    }

    fn try_run(&self, who: Who, signals: &Signals) -> Result<()> {
        let mut hoard = self.source.open()?;
        let kind = self.source.kind.name();
        let mut progress = Progress::new(who, self.max_bytes(), kind);
        let stopped = self.grow(&mut hoard, &mut progress, signals)? || self.hold.stay(signals);
        let why = if stopped { "told to stop" } else { "done" };
        say!("{who}: {why} at {}", format_size(hoard.held()));
        Ok(())
    }

    /// Takes the base, waits, grows; true if it was told to stop meanwhile.
    fn grow(&self, hoard: &mut Hoard, progress: &mut Progress, signals: &Signals) -> Result<bool> {
        let max = self.max_bytes();
        if let Some(base) = self.base {
            hoard.fill(base.min(max.unwrap_or(u64::MAX)))?;
            progress.report(hoard.held(), Instant::now());
        }
        if self.after > Duration::ZERO && signals.stopped_within(Some(self.after)) {
            return Ok(true);
        }
        while let Some(step) = next_step(self.step(), hoard.held(), max) {
            hoard.grow(step)?;
            progress.report(hoard.held(), Instant::now());
            if signals.stopped_within(Some(self.interval)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn step(&self) -> u64 {
        self.step
            .or(self.memory_increment_mb)
            .unwrap_or(DEFAULT_STEP)
    }

    fn max_bytes(&self) -> Option<u64> {
        match self.max {
            Some(Max::Bytes(bytes)) => Some(bytes),
            Some(Max::Forever) | None => None,
        }
    }
}

fn refuse_unbounded(growth: &Growth, limit: Option<u64>) -> Result<(), Usage> {
    let disk = growth.source.kind == Kind::File && !growth.source.lock;
    match growth.max {
        Some(Max::Bytes(_)) => Ok(()),
        _ if disk => Err(Usage(
            "page cache is written to disk, so it would fill that: give --max SIZE, or --lock to \
             keep it in memory"
                .to_owned(),
        )),
        None if limit.is_none() => Err(Usage(
            "no memory limit is known to apply here, so growing would take the whole machine: \
             give --max SIZE, run it in a cgroup with a limit, or insist with --max forever"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The next step in bytes; `None` when `max` is held.
fn next_step(step: u64, held: u64, max: Option<u64>) -> Option<u64> {
    match max {
        Some(max) if held >= max => None,
        Some(max) => Some(step.min(max - held)),
        None => Some(step),
    }
}

/// The exit code of a mode whose growing process is this one.
pub(crate) fn grow(growth: &Growth, signals: &Signals) -> Result<u8> {
    growth.check()?;
    Ok(growth.run(Who::Hog, signals))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        growth: Growth,
    }

    fn growth(flags: &[&str]) -> Growth {
        Line::parse_from([&["hog"], flags].concat()).growth
    }

    #[test]
    fn steps_end_exactly_at_max() {
        assert_eq!(next_step(4, 0, Some(10)), Some(4));
        assert_eq!(next_step(4, 8, Some(10)), Some(2));
        assert_eq!(next_step(4, 10, Some(10)), None);
        assert_eq!(next_step(4, 12, Some(10)), None);
        assert_eq!(next_step(4, 1 << 40, None), Some(4));
    }

    #[test]
    fn step_wins_over_the_increment_and_both_over_the_default() {
        assert_eq!(growth(&[]).step(), 1 << 20);
        assert_eq!(growth(&["--memory-increment-mb", "10"]).step(), 10 << 20);
        assert_eq!(
            growth(&["--memory-increment-mb", "10", "--step", "64K"]).step(),
            64 << 10
        );
    }

    #[test]
    fn growing_without_end_needs_a_limit_or_insistence() {
        let limited = Some(32 << 20);
        for (flags, limit, allowed) in [
            (&[][..], limited, true),
            (&[], None, false),
            (&["--max", "1G"], None, true),
            (&["--max", "forever"], None, true),
            (&["--kind", "file"], limited, false),
            (&["--kind", "file", "--max", "forever"], limited, false),
            (&["--kind", "file", "--max", "1G"], None, true),
            (&["--kind", "file", "--lock"], limited, true),
            (&["--kind", "tmpfs"], None, false),
        ] {
            let verdict = refuse_unbounded(&growth(flags), limit);
            assert_eq!(verdict.is_ok(), allowed, "{flags:?} {limit:?}");
        }
    }

    #[test]
    fn holding_is_none_forever_or_a_while() {
        assert_eq!(parse_hold("none"), Ok(Hold::For(Duration::ZERO)));
        assert_eq!(parse_hold("forever"), Ok(Hold::Forever));
        assert_eq!(parse_hold("2s"), Ok(Hold::For(Duration::from_secs(2))));
        assert!(parse_hold("long").is_err());
    }
}
