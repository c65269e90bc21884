//! The options of `cargo xtask vm-test`.

use std::path::PathBuf;
use std::thread;

use super::plan;

/// The variable that names the mirror.
pub(super) const MIRROR: &str = "OOM_PROBE_DEBIAN_MIRROR";

/// Options of `cargo xtask vm-test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernel to run, of the catalogue or of those given by --vmlinuz; repeatable [default: all]
    #[arg(long = "kernel", value_name = "NAME")]
    pub(crate) kernels: Vec<String>,

    /// Own kernel image, under the --name that goes with it, beside or instead of the catalogue's
    #[arg(long, value_name = "FILE", requires = "names")]
    pub(crate) vmlinuz: Vec<PathBuf>,

    /// Name of the kernel image given by --vmlinuz
    #[arg(long = "name", value_name = "NAME", requires = "vmlinuz")]
    pub(crate) names: Vec<String>,

    /// QEMU to use: a program, or a directory that has one [default: that on PATH, else Debian's]
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,

    /// Debian mirror to fetch packages from [default: the one this machine's apt uses]
    #[arg(long, value_name = "URL", env = MIRROR)]
    pub(crate) mirror: Option<String>,

    /// Machines that run at the same time [default: as many as this one has processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,

    /// Seconds that one machine may take
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub(crate) timeout: u64,

    /// Rewrite the matrix in docs/compatibility.md; only after a whole run that went right
    #[arg(long, conflicts_with_all = ["kernels", "filters", "facts", "set"])]
    pub(crate) report: bool,

    /// Run no test but record each kernel's BTF and tracepoint formats below target/vm/facts
    #[arg(long)]
    pub(crate) facts: bool,

    /// Program to put into the machines as /bin/NAME, instead of building it
    #[arg(long = "bin", value_name = "NAME=PATH", value_parser = plan::program)]
    pub(crate) programs: Vec<(String, PathBuf)>,

    /// Static program to run as PID 1, instead of building it
    #[arg(long, value_name = "PATH")]
    pub(crate) init: Option<PathBuf>,

    /// Static test program to run, instead of building oom-probe's real_oom test
    #[arg(long, value_name = "PATH")]
    pub(crate) test_bin: Option<PathBuf>,

    /// Run each scenario that many times on each machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) repeat: u16,

    /// Scenarios to run [default: kills; all of them with a filter or --report]
    #[arg(long, value_enum, value_name = "SET")]
    pub(crate) set: Option<Set>,

    /// Arguments for the test: names of the scenarios to run
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

/// Half of the scenarios, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Set {
    /// Real kills of every shape, on every kernel
    Kills,
    /// The daemon and the node around it: pods, restarts, rights, outages
    Daemon,
    /// Both
    All,
    /// What `cargo xtask test` runs: the kills, and what this machine cannot run itself
    Gate,
}

impl Args {
    fn set(&self) -> Set {
        let all = self.report || !self.filters.is_empty();
        self.set.unwrap_or(if all { Set::All } else { Set::Kills })
    }

    /// Machines that run at the same time.
    pub(super) fn at_once(&self) -> usize {
        let processors = || thread::available_parallelism().map_or(2, usize::from);
        self.jobs.map_or_else(processors, usize::from)
    }

    /// What the test in the machines is told.
    pub(super) fn of_test(&self) -> Vec<String> {
        let mut arguments = self.filters.clone();
        match self.set() {
            Set::Kills => arguments.push("--set=kills".to_owned()),
            Set::Daemon => arguments.push("--set=daemon".to_owned()),
            Set::Gate => arguments.push("--set=gate".to_owned()),
            Set::All => {}
        }
        if self.repeat > 1 {
            arguments.push(format!("--repeat={}", self.repeat));
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.args)
    }

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_whole_run_is_the_default_and_filters_come_last() {
        let args = parse("vm-test").unwrap();
        assert_eq!((args.timeout, args.kernels.len(), args.repeat), (900, 0, 1));
        let args = parse("vm-test --kernel 6.1 --kernel 5.10 -- single storm").unwrap();
        assert_eq!(args.kernels, ["6.1", "5.10"]);
        assert_eq!(args.filters, ["single", "storm"]);
    }

    #[test]
    fn the_kills_unless_more_is_asked_for() {
        let of_test = |line| parse(line).unwrap().of_test();
        assert_eq!(of_test("vm-test"), ["--set=kills"]);
        assert_eq!(of_test("vm-test --set daemon"), ["--set=daemon"]);
        assert_eq!(of_test("vm-test --set all"), [""; 0]);
        assert_eq!(of_test("vm-test --report"), [""; 0]);
        assert_eq!(
            of_test("vm-test --repeat 3 -- pins"),
            ["pins", "--repeat=3"]
        );
    }

    #[test]
    fn only_a_whole_run_may_be_reported() {
        assert!(parse("vm-test --report").is_ok());
        assert!(parse("vm-test --report --vmlinuz /k --name 5.10").is_ok());
        for part in ["--kernel 6.1", "--facts", "--set kills", "-- single"] {
            assert!(
                parse(&format!("vm-test --report {part}")).is_err(),
                "{part}"
            );
        }
    }
}
