//! `oom-probe doctor`: what this node can do, and why.
//!
//! It asks what `oom-probe run` asks before it loads anything, and shows what follows from it. What
//! it promises it has tried, with programs that do nothing and are attached for a moment; where that
//! is not possible it says "not tried".

mod checks;
mod containers;
mod diagnosis;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

pub use checks::{Check, Level};
pub use containers::Containers;
pub use diagnosis::{Diagnosis, Rung, State, diagnose};
pub use table::render;

use crate::{
    capture::{
        environment::Facts,
        pin::{PIN_DIR, PinDirState},
        plan, trial,
    },
    cgroup::kubepods::Kubepods,
    commands::args::NodeArgs,
};

/// The flags of `oom-probe doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// Where, on a bpffs, what captures is pinned
    #[arg(long, value_name = "DIR", default_value = PIN_DIR, env = "OOM_PROBE_PIN_DIR")]
    pub pin_dir: PathBuf,
    /// Where the node is looked at.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// How to print the diagnosis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A table to read
    #[default]
    Table,
    /// One JSON object
    Json,
}

/// Asks the node and prints the diagnosis. The exit code is 1 where kills cannot be captured.
///
/// # Errors
/// When standard output can't be written to; a closed pipe is no error.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let DoctorArgs {
        output,
        pin_dir,
        node,
    } = args;
    let facts = Facts::gather(&node.sources());
    let containers = facts
        .cgroup
        .as_ref()
        .map(|root| {
            let kubepods = Kubepods::of_node(&node.kubepods_root, root);
            Containers::survey(root, &node.proc_root, &kubepods)
        })
        .unwrap_or_default();
    let pins = PinDirState::look(pin_dir);
    let mut plan = plan::plan(&facts);
    let tried = plan.try_out(&facts, &trial::attach);
    let diagnosis = diagnose(&facts, &plan, tried, &pins, &containers);
    let text = match output {
        Output::Table => render(&diagnosis, width()),
        Output::Json => serde_json::to_string_pretty(&diagnosis).context("cannot print as JSON")?,
    };
    // Colours are taken out where they are not wanted: NO_COLOR, or no terminal.
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ if diagnosis.captures => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// Columns of the terminal; a comfortable number where there is none.
fn width() -> u16 {
    terminal_size::terminal_size().map_or(120, |(terminal_size::Width(columns), _)| columns.max(60))
}
