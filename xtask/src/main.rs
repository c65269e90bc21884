//! `cargo xtask …`: everything a developer or CI does with oom-probe.

mod bench;
mod cmd;
mod compile;
mod containers;
mod cross;
mod debian;
mod deploy;
mod fuzz;
mod hog;
mod image;
mod lint;
mod report;
mod run;
mod source;
mod sudo;
mod test;
mod toolchain;
mod tools;
mod vm;

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
    /// Build `oom-probe` and `hog`; the eBPF toolchain is got once if need be.
    Build(compile::Args),
    /// Build and run `oom-probe run` on this machine, unpinned.
    Run(run::Args),
    /// Write OCI archives of the daemon and of the hog, for `ctr`, `docker` and `kind` to load.
    Image(image::Args),
    /// Render the manifests and copy the rules and the dashboard to where they are needed.
    Deploy,
    /// Make a real OOM kill in a cgroup of its own.
    Hog(hog::Args),
    /// Run the unit tests, the lints, the real-OOM tests and the emulated machines.
    Test(test::Args),
    /// Check format, lints, docs, spelling and dependencies.
    Lint,
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
    /// Fuzz what reads bytes from outside, each target for a bounded time.
    Fuzz(fuzz::Args),
    /// Get the programs that tests run, and print where they are, for a PATH.
    Tools,
    /// Run the images in a containerd of their own, with real OOM kills; needs root.
    ContainerTest(containers::Args),
    /// Run the real-OOM test on real kernels, each in an emulated machine.
    VmTest(vm::Args),
}

impl Job {
    fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Build(args) => compile::run(args).map(|()| ExitCode::SUCCESS),
            Self::Run(args) => run::run(args),
            Self::Image(args) => image::run(args).map(|()| ExitCode::SUCCESS),
            Self::Hog(args) => hog::run(args),
            Self::Test(args) => test::run(args),
            Self::Lint => Ok(lint::run()),
            Self::Bench(args) => bench::run(args),
            Self::BenchRival { own } => bench::run_rival(*own).map(|()| ExitCode::SUCCESS),
            Self::BenchGuest(args) => bench::run_guest(args).map(|()| ExitCode::SUCCESS),
            Self::Deploy => deploy::run().map(|()| ExitCode::SUCCESS),
            Self::Fuzz(args) => fuzz::run(args),
            Self::Tools => tools::run().map(|()| ExitCode::SUCCESS),
            Self::ContainerTest(args) => containers::run(args).map(|()| ExitCode::SUCCESS),
            Self::VmTest(args) => vm::run(args).map(|()| ExitCode::SUCCESS),
        }
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
