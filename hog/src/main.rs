//! Makes real OOM kills on purpose, in every shape: see `hog --list`.

mod cli;
#[cfg(feature = "drill")]
mod drill;
mod failure;
mod growth;
mod list;
mod members;
mod memory;
mod modes;
mod process;
mod program;
mod say;
#[cfg(feature = "drill")]
mod serve;
mod setup;
mod signals;
mod source;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("hog: {error:#}");
            failure::exit_code(&error).into()
        }
    }
}
