//! `oom-probe unpin`: ends what goes on without a daemon.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{journal::STATE_DIR, service};
use capture::pin::{OpenError, PIN_DIR, PinDir};

/// The flags of `oom-probe unpin`.
#[derive(Clone, Debug, clap::Args)]
pub struct UnpinArgs {
    /// Where it is pinned
    #[arg(long, value_name = "DIR", default_value = PIN_DIR, env = "OOM_PROBE_PIN_DIR")]
    pub pin_dir: PathBuf,
    /// Remove the state too: counters begin at 0 again
    #[arg(long)]
    pub state: bool,
    /// Where the state is
    #[arg(
        long,
        value_name = "DIR",
        default_value = STATE_DIR,
        env = "OOM_PROBE_STATE_DIR"
    )]
    pub state_dir: PathBuf,
    /// Then stay until stopped: for a DaemonSet, whose pods may not end
    #[arg(long)]
    pub stay: bool,
}

/// Removes the pins: the kernel then lets go of programs, ring and ledger. That nothing is pinned
/// is no error.
///
/// # Errors
/// A daemon has them, or they cannot be removed.
pub fn run(args: &UnpinArgs) -> anyhow::Result<ExitCode> {
    let UnpinArgs {
        pin_dir,
        state,
        state_dir,
        stay,
    } = args;
    let shown = pin_dir.display();
    let removed = match PinDir::open_existing(pin_dir) {
        Ok(Some(dir)) => dir
            .remove()
            .with_context(|| format!("cannot remove what is pinned in {shown}"))?,
        Ok(None) => false,
        Err(error @ OpenError::NoBpffs { .. }) => {
            tracing::debug!("{error}");
            false
        }
        Err(error) => return Err(error.into()),
    };
    let mut said = if removed {
        format!("unpinned {shown}: nothing captures any more")
    } else {
        format!("nothing is pinned in {shown}")
    };
    if *state {
        let shown = state_dir.display();
        crate::journal::files::remove(state_dir)
            .with_context(|| format!("cannot remove the state in {shown}"))?;
        said.push_str(&format!("\nno state is left in {shown}"));
    }
    match writeln!(io::stdout(), "{said}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write to standard output");
        }
        _ => {}
    }
    if *stay {
        service::block_on(stopped())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
