//! containerd with what it runs: the ones on the PATH, else Debian's, unpacked and never installed.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cmd;
use crate::debian::{self, Suite};

const NAMES: [&str; 4] = ["containerd", "containerd-shim-runc-v2", "ctr", "runc"];

/// Where programs and libraries are.
#[derive(Debug)]
pub(super) struct Programs {
    path: OsString,
    libraries: Option<PathBuf>,
    pub(super) runc: PathBuf,
}

/// Whether the ctr on the PATH has an option that the scenarios take; containerd 1.6's has not.
fn ctr_knows_users() -> bool {
    let help = cmd::answer("ctr", &["run", "--help"]).unwrap_or_default();
    help.contains("--user")
}

impl Programs {
    /// Finds or gets them.
    ///
    /// # Errors
    /// They can neither be found nor got, or do not run on this system.
    pub(super) fn find() -> Result<Self> {
        let installed: Option<Vec<_>> = NAMES.iter().map(|name| cmd::which(name)).collect();
        let installed = installed.filter(|_| ctr_knows_users());
        let inherited = env::var_os("PATH").unwrap_or_default();
        let programs = if let Some(runc) = installed.and_then(|mut all| all.pop()) {
            Self {
                path: inherited,
                libraries: None,
                runc,
            }
        } else {
            // containerd is the one that clusters run; the runc beside it in Debian 13 wants a newer
            // C library than most machines have.
            let containerd = debian::unpacked(Suite::Trixie, "containerd", &["containerd"])?;
            let runc = debian::unpacked(Suite::Bookworm, "runc", &["runc", "libseccomp2"])?;
            let own = [containerd.join("usr/bin"), runc.join("usr/sbin")];
            let all = own.into_iter().chain(env::split_paths(&inherited));
            let libraries = runc
                .join("usr/lib")
                .join(format!("{}-linux-gnu", env::consts::ARCH));
            Self {
                path: env::join_paths(all)?,
                libraries: Some(libraries),
                runc: runc.join("usr/sbin/runc"),
            }
        };
        for (name, version) in [("containerd", "--version"), ("runc", "--version")] {
            let output = programs.command(name).arg(version).output();
            let output = output.with_context(|| format!("cannot run {name}"))?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr);
                bail!("{name} does not run on this system: {}", why.trim());
            }
        }
        Ok(programs)
    }

    /// A command that finds all the others.
    pub(super) fn command(&self, name: &str) -> Command {
        // The new PATH is the child's own: the program has to be looked up in it here.
        let program = env::split_paths(&self.path)
            .map(|directory| directory.join(name))
            .find(|path| path.is_file());
        let mut command = Command::new(program.unwrap_or_else(|| name.into()));
        command.env("PATH", &self.path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}
