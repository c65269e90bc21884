//! `cargo xtask bench`: the daemon measured against its budgets and against what people would use
//! instead, by real kills on this machine, and in an emulated one for what this does not let run.
//!
//! Figures are shown, not asserted: they depend on the machine and on what else it does.

mod cluster;
mod code;
mod daemon;
mod in_kernel;
mod kernel;
mod latency;
mod log;
mod machine;
mod pods;
mod poll;
mod priority;
mod process;
mod report;
mod rivals;
mod section;
mod share;
mod spread;
mod start;
mod storm;
mod storms;
mod sysctl;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use hog::resident::Resident;

use crate::source::Source;
use crate::{cmd, compile};
use report::Run;
pub(crate) use rivals::emulated::{Args as GuestArgs, run as run_guest};
pub(crate) use rivals::{Own, run as run_rival};
use section::Section;

/// How much to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Few repetitions, in some minutes: whether all of it works
    #[arg(long)]
    quick: bool,
    /// Write docs/performance.md
    #[arg(long)]
    report: bool,
    /// Daemon to measure, instead of building it: to compare two builds
    #[arg(long, value_name = "FILE", requires = "hog", conflicts_with = "report")]
    oom_probe: Option<PathBuf>,
    /// Hog to make kills with, instead of building it
    #[arg(long, value_name = "FILE", requires = "oom_probe")]
    hog: Option<PathBuf>,
    /// Only the parts whose names contain that
    #[arg(value_name = "PART")]
    only: Option<String>,
}

/// How often.
struct Effort {
    starts: u32,
    /// Kills in a storm.
    storm: u32,
    /// Kills that are watched from several sides.
    watched: u32,
    /// The same in an emulated machine, which is slow.
    emulated: u32,
    /// Seconds of doing nothing, for each size of a node.
    idle: u64,
}

const FULL: Effort = Effort {
    starts: 30,
    storm: 1000,
    watched: 300,
    emulated: 300,
    idle: 60,
};
const QUICK: Effort = Effort {
    starts: 5,
    storm: 60,
    watched: 40,
    emulated: 15,
    idle: 5,
};

/// A part of the report.
type Part = (
    &'static str,
    fn(&compile::Built, &Effort, bool) -> Result<Vec<Section>>,
);

const PARTS: [Part; 8] = [
    ("start", |built, effort, _| {
        Ok(vec![start::measure(&built.oom_probe, effort.starts)?])
    }),
    ("latency", |built, effort, _| {
        let section = latency::measure(&built.oom_probe, &built.hog, effort.watched)?;
        Ok(vec![section])
    }),
    ("storms", |built, effort, _| {
        let section = storms::measure(&built.oom_probe, &built.hog, effort.storm)?;
        Ok(vec![section])
    }),
    ("kernel", |built, effort, _| {
        let section = in_kernel::measure(&built.oom_probe, &built.hog, effort.watched)?;
        Ok(vec![section])
    }),
    ("rivals", |built, effort, _| {
        let section = rivals::measure(&built.oom_probe, &built.hog, effort.watched)?;
        Ok(vec![section])
    }),
    ("rivals-vm", |built, effort, _| {
        let section = rivals::emulated::measure(built, effort.emulated)?;
        Ok(vec![section])
    }),
    ("pods", |built, effort, _| {
        let nodes = pods::measure(&built.oom_probe, effort.idle)?;
        let mut sections = vec![pods::judged(&nodes), pods::table(&nodes)];
        sections.extend(cluster::on_paper(&nodes));
        Ok(sections)
    }),
    ("code", |_, _, quick| Ok(vec![code::measure(quick)?])),
];

/// Whether all parts run, with few repetitions.
///
/// # Errors
/// As [`run`].
pub(crate) fn smoke(built: &compile::Built) -> Result<()> {
    let args = Args {
        quick: true,
        report: false,
        oom_probe: Some(built.oom_probe.clone()),
        hog: Some(built.hog.clone()),
        only: None,
    };
    run(&args).map(drop)
}

/// Builds, measures, prints tables, and writes the report if that was asked for.
///
/// # Errors
/// It cannot be built, or this machine does not let kills be captured.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !cmd::is_root() {
        bail!("loading kernel programs and making cgroups take root: sudo cargo xtask bench");
    }
    if args.report && args.only.is_some() {
        bail!("a report has all parts: leave the name out");
    }
    tidy::leave_nothing_behind()?;
    // What an image has: one static program, and what is measured is what is shipped.
    let built = match (&args.oom_probe, &args.hog) {
        (Some(oom_probe), Some(hog)) => compile::Built {
            oom_probe: oom_probe.canonicalize()?,
            hog: hog.canonicalize()?,
        },
        _ => compile::build(&compile::Args::for_tests())?,
    };
    let _hog = Resident::hold(&built.hog)?;
    let effort = if args.quick { &QUICK } else { &FULL };
    let load_before = machine::load();
    let mut sections = Vec::new();
    for (name, measure) in PARTS {
        if args.only.as_ref().is_none_or(|only| name.contains(only)) {
            let measured = measure(&built, effort, args.quick)?;
            for section in &measured {
                println!("{}", section.terminal());
            }
            sections.extend(measured);
        }
    }
    if args.report {
        let run = Run {
            commit: Source::of_workspace()?.commit(),
            machine: machine::describe()?,
            load_before,
            load_after: machine::load(),
            priority: priority::told(),
            quick: args.quick,
        };
        report::write(&run, &sections)?;
    }
    Ok(ExitCode::SUCCESS)
}
