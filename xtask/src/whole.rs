//! Commands that need more crates than the rest: xtask compiles itself again with all of them.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::cmd;

/// Whether this xtask has every command.
pub(crate) const IS_HERE: bool = cfg!(feature = "full");

/// Options that are passed on as they are.
#[cfg(not(feature = "full"))]
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct PassedOn {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _options: Vec<OsString>,
}

/// Runs this very command line by the whole xtask.
///
/// # Errors
/// It cannot be compiled or started.
pub(crate) fn run() -> Result<ExitCode> {
    let mut cargo = cmd::cargo();
    cargo.args(["run", "--package", "xtask", "--features", "full", "--"]);
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let status = cargo.args(arguments).status()?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}
