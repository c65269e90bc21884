//! The command line: each flag has an environment variable and a default.

pub mod run;
pub mod kills;
pub mod doctor;
pub mod oom_group;
pub mod mount_bpffs;
pub mod unpin;
mod values;
mod args;

use std::process::ExitCode;

use clap::{Parser, Subcommand, error::ErrorKind};

use doctor::DoctorArgs;
use kills::KillsArgs;
use mount_bpffs::MountBpffsArgs;
use oom_group::OomGroupArgs;
use run::RunArgs;
use unpin::UnpinArgs;

/// Version, commit with its date, and what was built: for which machine, and where its kernel
/// programs come from.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("OOM_PROBE_BUILT_FROM"),
    ", ",
    env!("OOM_PROBE_ARCH"),
    ", kernel programs: ",
    env!("OOM_PROBE_EBPF_KIND"),
    ")"
);

/// Sees every OOM kill on this node, the invisible ones too.
#[derive(Debug, Parser)]
#[command(name = "oom-probe", version = VERSION)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Capture OOM kills until stopped
    Run(Box<RunArgs>),
    /// Show the kills that a running daemon has recorded
    Kills(KillsArgs),
    /// Tell what this node offers, what is missing and how to get it
    Doctor(DoctorArgs),
    /// Keep memory.oom.group of containers as their pods' annotations ask for
    OomGroup(OomGroupArgs),
    /// Mount a bpffs where a node has none
    MountBpffs(MountBpffsArgs),
    /// Remove what daemons have pinned, so that nothing captures any more
    Unpin(UnpinArgs),
}

/// The command of this process' arguments.
///
/// # Errors
/// The exit code, once help, the version or what was wrong has been printed.
pub fn parse() -> Result<Command, ExitCode> {
    Cli::try_parse().map(|cli| cli.command).map_err(|error| {
        // Without a command the help is the answer: it is not one line, but shows them all.
        if error.use_stderr() && error.kind() != MISSING_COMMAND {
            eprintln!("oom-probe: {}", one_line(&error.render().to_string()));
        } else {
            // Nobody may be left to read it.
            let _ = error.print();
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

const MISSING_COMMAND: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// A message of clap without its usage, on one line.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let lines = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .filter(|line| !line.starts_with("Usage:"))
        .map(|line| {
            ["tip: ", "For more information, "]
                .iter()
                .find_map(|words| line.strip_prefix(words))
                .unwrap_or(line)
        })
        .map(|line| line.trim_end_matches('.'));
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_told_in_one_line() {
        for (arguments, expected) in [
            (
                &["run", "--listn", "x"][..],
                "unexpected argument '--listn' found; \
                 a similar argument exists: '--listen'; \
                 try '--help'",
            ),
            (
                &["run", "--listen", "x"],
                "invalid value 'x' for '--listen <ADDRESS>': invalid socket address syntax; \
                 try '--help'",
            ),
            (
                &["kills", "--output", "xml"],
                "invalid value 'xml' for '--output <FORMAT>'; \
                 [possible values: table, json]; \
                 try '--help'",
            ),
        ] {
            let error = Cli::try_parse_from(["oom-probe"].iter().chain(arguments)).unwrap_err();
            assert_eq!(one_line(&error.render().to_string()), expected);
        }
    }
}
