//! The `oom-probe` binary.

use std::process::ExitCode;

use oom_probe::{
    commands::{self, Command, doctor, kills, mount_bpffs, oom_group, run, unpin},
    service,
};

fn main() -> ExitCode {
    let command = match commands::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    let result = match command {
        Command::Run(args) => run::run(*args),
        Command::Kills(args) => service::block_on(kills::run(args)),
        Command::Doctor(args) => doctor::run(&args),
        Command::OomGroup(args) => oom_group::run(args),
        Command::MountBpffs(args) => mount_bpffs::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Unpin(args) => unpin::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprint!("{}", service::failure(&error));
        service::exit_code(&error)
    })
}
