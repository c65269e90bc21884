//! `cargo xtask run`: the daemon on this machine, from source.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{cmd, compile, sudo};

/// How to run the daemon.
#[derive(Debug, clap::Args)]
// The build's options come with a group of the same name.
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    build: compile::Args,
    /// Options for `oom-probe run`; see `cargo xtask run -- --help`.
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<OsString>,
}

/// Builds the daemon and becomes it, so that signals and the exit code are its own.
///
/// # Errors
/// It cannot be built or started.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let built = compile::build(&args.build)?;
    let mut daemon = Command::new(built.oom_probe);
    daemon
        .arg("run")
        .args(options(&args.options, |name| env::var_os(name).is_some()));
    let mut command = sudo::as_root(
        daemon,
        "loading kernel programs takes CAP_BPF and CAP_PERFMON",
    );
    eprintln!("$ {}", cmd::shown(&command));
    Err(command.exec()).with_context(|| format!("cannot run `{}`", cmd::shown(&command)))
}

/// The options, unpinned unless pinning is spoken of: nothing is to outlive a developer's daemon.
fn options(given: &[OsString], is_set: impl Fn(&str) -> bool) -> Vec<OsString> {
    let speaks_of_pins = given
        .iter()
        .filter_map(|argument| argument.to_str())
        .any(|argument| argument == "--no-pin" || argument.starts_with("--pin-dir"));
    let unpinned = (!speaks_of_pins && !is_set("OOM_PROBE_PIN_DIR")).then(|| "--no-pin".into());
    unpinned.into_iter().chain(given.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_developers_daemon_is_unpinned_unless_pinning_is_asked_for() {
        let cases: [(&[&str], &[&str], &str); 5] = [
            (&[], &[], "--no-pin"),
            (
                &["--output", "json"],
                &["KUBECONFIG"],
                "--no-pin --output json",
            ),
            (&["--no-pin"], &[], "--no-pin"),
            (&["--pin-dir=/sys/fs/bpf/x"], &[], "--pin-dir=/sys/fs/bpf/x"),
            (&[], &["OOM_PROBE_PIN_DIR"], ""),
        ];
        for (given, set, expected) in cases {
            let given: Vec<_> = given.iter().map(OsString::from).collect();
            let options = options(&given, |name| set.contains(&name));
            assert_eq!(options.join(OsStr::new(" ")), OsString::from(expected));
        }
    }
}
