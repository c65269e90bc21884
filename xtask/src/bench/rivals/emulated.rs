//! The same in an emulated machine: what some of the alternatives need, this one may not offer.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::super::priority;
use super::super::section::Section;
use crate::compile::Built;
use crate::debian::{self, Suite};
use crate::vm::{Guest, Machine};

/// cgroup v2, kprobes, BTF, and nothing locked down.
const MACHINE: &str = "6.1";
/// The newest bpftrace of a release.
const SUITE: Suite = Suite::Trixie;
/// Marks the line with what was measured.
const MARK: &str = "bench-section: ";
const TITLE: &str = "What people would use instead, with cgroup v2";
/// To compile scripts in an emulator takes a minute, kills some more.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What `xtask bench-guest` is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kills of each storm
    kills: u32,
}

/// Boots the machine and lets it measure; says why where it cannot be had.
pub(in crate::bench) fn measure(built: &Built, kills: u32) -> Result<Section> {
    let (place, mut programs, files) = match ingredients() {
        Ok(ingredients) => ingredients,
        Err(error) => {
            let mut section = Section::table(TITLE, "Not measured here.", &[]);
            section.note(format!("No emulated machine: {error:#}."));
            return Ok(section);
        }
    };
    for (name, file) in [("oom-probe", &built.oom_probe), ("hog", &built.hog)] {
        programs.push((name.to_owned(), file.clone()));
    }
    let said = place.run(Guest {
        name: "bench",
        program: "xtask",
        arguments: vec!["bench-guest".to_owned(), kills.to_string()],
        programs,
        files,
        timeout: PATIENCE,
    })?;
    section(&said)
}

type Files = Vec<(String, PathBuf)>;

/// The machine, the programs of the alternatives, and the libraries and the loader that these take.
fn ingredients() -> Result<(Machine, Files, Files)> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the machines are x86-64, and so would have to be what was built");
    }
    let place = Machine::get(MACHINE)?;
    let root = debian::unpacked_whole(SUITE, "bpftrace-whole", &["bpftrace", "dash"])?;
    let bpftrace = root.join("usr/bin/bpftrace");
    // bpftrace asks a shell for a compiler's directories, and crashes where there is no shell.
    let shell = root.join("usr/bin/dash");
    let libraries = debian::libraries(&root, &[bpftrace.clone(), shell.clone()])?;
    let files = libraries
        .into_iter()
        .map(|(name, file)| {
            let is_loader = name.starts_with("ld-linux");
            let directory = if is_loader { "/lib64" } else { "/lib" };
            (format!("{directory}/{name}"), file)
        })
        .collect();
    let programs = vec![
        ("bpftrace".to_owned(), bpftrace),
        ("oomkill.bt".to_owned(), root.join("usr/sbin/oomkill.bt")),
        ("sh".to_owned(), shell),
    ];
    Ok((place, programs, files))
}

/// `cargo xtask bench-guest`: inside the machine.
///
/// # Errors
/// It cannot be measured there.
pub(crate) fn run(args: &Args) -> Result<()> {
    let [oom_probe, hog] = ["/bin/oom-probe", "/bin/hog"].map(Path::new);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut section = super::measure(oom_probe, hog, args.kills)?.headed(
        TITLE.to_owned(),
        format!(
            "The same, by the newest bpftrace of Debian 13 on a kernel of Debian 12 (Linux {}) that \
             has kprobes and group kills, in an emulated machine with 2 CPUs. Times are those of an \
             emulator, several times what a real machine takes: only exactness and ratios count. \
             Kills come slower, too, which flatters a poller and the kernel's log, whose line with \
             the cgroup comes ten times in five seconds at most. In a group the kernel logs and \
             counts the first victim twice, and `oomkill.bt` sees no other.",
            kernel.trim(),
        ),
    );
    if let Some(refused) = priority::refused() {
        section.note(refused);
    }
    // One write, since others write to the same port.
    let line = format!("\n{MARK}{}\n", serde_json::to_string(&section)?);
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}

fn section(said: &str) -> Result<Section> {
    let line = said.lines().find_map(|line| line.strip_prefix(MARK));
    let line = line.context("the machine told nothing that was measured")?;
    serde_json::from_str(line).context("what the machine told is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_measured_is_found_in_what_it_said() {
        let mut measured = Section::table(TITLE, "In between.", &["who"]);
        measured.row(["bpftrace".to_owned()]);
        let json = serde_json::to_string(&measured).unwrap();
        let said =
            format!("vm-init: release=6.1\nbench: 9 kills\n\n{MARK}{json}\nvm-init: exit=0\n");
        assert_eq!(section(&said).unwrap(), measured);
        assert!(section("vm-init: exit=0\n").is_err());
    }
}
