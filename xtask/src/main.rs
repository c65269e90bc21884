//! `cargo xtask …`: everything a developer or CI does with oom-probe.

#![cfg_attr(
    not(feature = "full"),
    expect(
        dead_code,
        unused_imports,
        reason = "shared parts that only a command of the whole xtask calls"
    )
)]

#[cfg(feature = "full")]
mod bench;
mod cmd;
mod compile;
#[cfg(feature = "full")]
mod containers;
mod cross;
mod debian;
mod deploy;
mod fuzz;
mod hog;
#[cfg(feature = "full")]
mod image;
mod lint;
mod prerequisites;
mod report;
mod run;
mod source;
mod sudo;
mod test;
mod toolchain;
mod tools;
mod vm;
mod wheel;
mod whole;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything a developer or CI does with oom-probe.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Build `oom-probe` and `hog`; the eBPF toolchain is installed once if need be.
    Build(compile::Args),
    /// Build and run `oom-probe run` on this machine, unpinned.
    Run(run::Args),
    /// Render the manifests and copy the rules and the dashboard to where they are needed.
    Deploy,
    /// Make a real OOM kill in a cgroup of its own.
    Hog(hog::Args),
    /// Run the gate: lints, unit tests, real OOM kills here and on emulated kernels.
    Test(test::Args),
    /// Check format, lints, docs, spelling and dependencies.
    Lint,
    /// Fuzz the parsers of untrusted input, each target for a bounded time.
    Fuzz(fuzz::Args),
    /// Download the programs that tests run, and print their directories, for a PATH.
    Tools,
    /// Run the real-OOM test on real kernels, each in an emulated machine.
    VmTest(vm::Args),
    #[command(flatten)]
    Whole(Whole),
}

/// Commands of the whole xtask, which compiles twice as long.
#[cfg(feature = "full")]
#[derive(Debug, Subcommand)]
enum Whole {
    /// Write OCI archives of the daemon and of the hog, for `ctr`, `docker` and `kind` to load.
    Image(image::Args),
    /// Measure the daemon against its budgets, by real kills on this machine.
    Bench(bench::Args),
    /// One of the alternatives that the bench measures.
    #[command(hide = true)]
    BenchRival {
        /// Which
        own: bench::Own,
    },
    /// What the bench measures in an emulated machine, inside that.
    #[command(hide = true)]
    BenchGuest(bench::GuestArgs),
    /// Run the images in a containerd of their own, with real OOM kills; needs root.
    ContainerTest(containers::Args),
}

/// The same commands in an xtask that has to compile itself again for them.
#[cfg(not(feature = "full"))]
#[derive(Debug, Subcommand)]
enum Whole {
    /// Write OCI archives of the daemon and of the hog, for `ctr`, `docker` and `kind` to load.
    Image(whole::PassedOn),
    /// Measure the daemon against its budgets, by real kills on this machine.
    Bench(whole::PassedOn),
    /// Run the images in a containerd of their own, with real OOM kills; needs root.
    ContainerTest(whole::PassedOn),
}

impl Job {
    fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Build(args) => compile::run(args).map(|()| ExitCode::SUCCESS),
            Self::Run(args) => run::run(args),
            Self::Hog(args) => hog::run(args),
            Self::Test(args) => test::run(args),
            Self::Lint => Ok(lint::run()),
            Self::Deploy => deploy::run().map(|()| ExitCode::SUCCESS),
            Self::Fuzz(args) => fuzz::run(args),
            Self::Tools => tools::run().map(|()| ExitCode::SUCCESS),
            Self::VmTest(args) => vm::run(args).map(|()| ExitCode::SUCCESS),
            Self::Whole(whole) => whole.run(),
        }
    }
}

impl Whole {
    #[cfg(feature = "full")]
    fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Image(args) => image::run(args).map(|()| ExitCode::SUCCESS),
            Self::Bench(args) => bench::run(args),
            Self::BenchRival { own } => bench::run_rival(*own).map(|()| ExitCode::SUCCESS),
            Self::BenchGuest(args) => bench::run_guest(args).map(|()| ExitCode::SUCCESS),
            Self::ContainerTest(args) => containers::run(args).map(|()| ExitCode::SUCCESS),
        }
    }

    #[cfg(not(feature = "full"))]
    fn run(&self) -> anyhow::Result<ExitCode> {
        whole::run()
    }
}

fn main() -> ExitCode {
    Cli::parse().job.run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
