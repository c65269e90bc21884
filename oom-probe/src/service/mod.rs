//! What both daemons need: a runtime, diagnostics on standard error, a bounded end.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::metrics::counter::Counter;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::sinks::log::output::Output;
use capture::{
    load::ArmError,
    pin::{Gone, Held},
};

/// How long what waits may take to be written when a daemon ends.
pub const FLUSH: Duration = Duration::from_secs(1);

/// Runs a daemon to its end with diagnostics of that level, and says why it ends if it failed.
///
/// # Errors
/// There is no descriptor or no thread to be had for the diagnostics.
pub fn run(
    level: tracing::Level,
    daemon: impl FnOnce() -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let diagnostics = log_to_stderr(level).context("cannot write to standard error")?;
    let code = daemon().unwrap_or_else(|error| {
        diagnostics.push(failure(&error).into_bytes());
        exit_code(&error)
    });
    // Whoever should read them may have stopped: nobody waits for that.
    diagnostics.finish(FLUSH);
    Ok(code)
}

/// Diagnostics go to standard error, one line each, and never wait for who reads it.
fn log_to_stderr(level: tracing::Level) -> io::Result<Output> {
    let output = Output::stderr(Counter::default())?;
    let writer = output.clone();
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(move || writer.clone());
    // Libraries tell each failed request at once and again; this crate tells each trouble once.
    let own = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    tracing_subscriber::registry()
        .with(lines.with_filter(own))
        .init();
    Ok(output)
}

/// The line that names the cause and the remedy.
#[must_use]
pub fn failure(error: &anyhow::Error) -> String {
    format!("oom-probe: {error:#}\n")
}

/// 1 is kept for: kills cannot be captured. Whatever else stops a daemon was asked for wrongly or
/// cannot be had.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let cannot_capture = error.is::<ArmError>() || error.is::<Held>() || error.is::<Gone>();
    ExitCode::from(if cannot_capture { 1 } else { 2 })
}

/// Runs a future on one thread, which is all that a daemon on every node may cost.
///
/// # Errors
/// Those of the future.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(future);
    // A look-up of a name that hangs holds nobody up.
    runtime.shutdown_background();
    result
}

/// The signals that stop a daemon.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From now on they are waited for instead of ending the process.
    ///
    /// # Errors
    /// The runtime cannot listen for them.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one; its name.
    pub async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
