//! The command line.

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

#[cfg(feature = "drill")]
use crate::drill::Drill;
use crate::growth::{Growth, grow};
use crate::list;
use crate::modes::{Exiting, Group, Herd, Hold, LeaderExit, Pidns, SharedMm};
use crate::say::say;
#[cfg(feature = "drill")]
use crate::serve::Serve;
use crate::setup::Setup;
use crate::signals::Signals;

/// Makes real OOM kills on purpose, in every shape.
///
/// Run it in a cgroup with a memory limit: a container, a systemd scope, or `cargo xtask hog`.
/// Exit codes: 0 reached --max or was told to stop, 1 failed (out of memory says so), 2 asked
/// wrongly, 137 a child was killed. For the drill: 0 passed, 1 could not be done, 2 asked wrongly,
/// 3 a criterion was missed.
#[derive(Parser, Debug)]
#[command(name = "hog", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Explain each mode and each scenario: what happens and whom the OOM killer takes
    #[arg(long)]
    list: bool,

    #[command(flatten)]
    setup: Setup,

    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Subcommand, Debug)]
enum Mode {
    /// One process that grows
    Grow(Growth),
    /// Children that grow and die while their parent lives on
    Herd(Herd),
    /// The thread group leader exits, then another thread grows
    LeaderExit(Growth),
    /// Several processes share one address space, one of them grows
    SharedMm(SharedMm),
    /// A process and its children in one cgroup, for kills by memory.oom.group
    Group(Group),
    /// PID 1 of a new PID namespace or one of its children grows; needs root
    Pidns(Pidns),
    /// A large child stands still in its exit while hog grows: a victim that is dying anyway
    Exiting(Exiting),
    /// Takes memory at once and holds it: the large idle neighbour
    Hold(Hold),
    /// A service that grows when it is asked to: POST /allocate?mb=200
    #[cfg(feature = "drill")]
    Serve(Serve),
    /// A chaos drill with a post-mortem: makes one replica of a service run out of memory
    #[cfg(feature = "drill")]
    Drill(Drill),
}

impl Cli {
    /// Runs the mode; returns the exit code.
    pub(crate) fn run(self) -> Result<u8> {
        let Self { list, setup, mode } = self;
        if list {
            say!("Modes: `hog MODE`\n{}\n", list::modes());
            say!(
                "Scenarios: deploy/hog/SCENARIO.yaml, or `cargo xtask hog SCENARIO`\n{}",
                list::scenarios()
            );
            return Ok(0);
        }
        let Some(mode) = mode else {
            let missing = clap::error::ErrorKind::MissingSubcommand;
            Self::command()
                .error(missing, "which mode? `hog --list` explains each")
                .exit();
        };
        setup.apply()?;
        match mode {
            Mode::Grow(growth) => grow(&growth, &Signals::block()?),
            Mode::Herd(mode) => mode.run(&Signals::block()?),
            Mode::LeaderExit(growth) => LeaderExit(growth).run(Signals::block()?),
            Mode::SharedMm(mode) => mode.run(&Signals::block()?),
            Mode::Group(mode) => mode.run(&Signals::block()?),
            Mode::Pidns(mode) => mode.run(&Signals::block()?),
            Mode::Exiting(mode) => mode.run(&Signals::block()?),
            Mode::Hold(mode) => mode.run(&Signals::block()?),
            // Its runtime takes the signals.
            #[cfg(feature = "drill")]
            Mode::Serve(mode) => mode.run(),
            #[cfg(feature = "drill")]
            Mode::Drill(mode) => mode.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_mode_is_explained() {
        let command = Cli::command();
        command.clone().debug_assert();
        let table = list::modes().to_string();
        for mode in command.get_subcommands() {
            assert!(
                table.contains(mode.get_name()),
                "{} is not in --list",
                mode.get_name()
            );
        }
    }
}
