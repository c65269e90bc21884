//! Debian packages without touching the machine's own package state: a configuration, lists and a
//! cache of our own, so that packages of other suites can be read, downloaded and unpacked.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Suite;
use super::mirror::Mirror;

/// Where Debian-like systems keep the keys that sign every suite of the archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What to fetch from the archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Archive<'a> {
    /// The mirror; the one that this machine's apt uses where none is named.
    pub(crate) mirror: Option<&'a str>,
    /// Whose packages.
    pub(crate) suites: &'a [Suite],
    /// In Debian's words: amd64, arm64.
    pub(crate) architecture: &'a str,
}

/// A private apt whose lists have been fetched.
pub(crate) struct Apt {
    config: PathBuf,
    archives: PathBuf,
}

impl Apt {
    /// Sets up the private configuration under `dir` and fetches the package lists.
    ///
    /// # Errors
    /// The machine has no apt, its mirror is not known, or the files cannot be written. A suite
    /// that cannot be fetched is shown by apt and is an error only once a package of it is wanted.
    pub(crate) fn open(dir: &Path, archive: Archive<'_>) -> Result<Self> {
        let mirror = Mirror::of_machine(archive.mirror)?;
        let archives = dir.join("archives");
        for sub in ["lists/partial", "archives/partial", "empty"] {
            fs::create_dir_all(dir.join(sub))
                .with_context(|| format!("create {}", dir.display()))?;
        }
        fs::write(dir.join("status"), "")?;
        let keyring = Path::new(KEYRING).exists();
        if !keyring {
            eprintln!("xtask: no {KEYRING}: install debian-archive-keyring if apt lacks the keys");
        }
        fs::write(
            dir.join("sources.list"),
            sources(&mirror, keyring, archive.suites),
        )?;
        let config = dir.join("apt.conf");
        fs::write(
            &config,
            configuration(dir, archive.architecture, &machine_acquire()?),
        )?;

        let apt = Self { config, archives };
        eprintln!("xtask: fetching package lists");
        let status = apt
            .command("apt-get")
            .args(["-q", "update"])
            .stdout(Stdio::null())
            .status();
        if !status.context("run apt-get update")?.success() {
            eprintln!("xtask: some package lists could not be fetched; going on with the rest");
        }
        Ok(apt)
    }

    /// Names of all packages that begin with `prefix`, in any suite.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let text = output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// `packages` and everything they depend on, as if nothing were installed.
    pub(crate) fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let text = output(
            self.command("apt-get")
                .args(["install", "--simulate", "--no-install-recommends"])
                .args(packages),
        )?;
        Ok(simulated(&text))
    }

    /// Downloads packages, verified by apt, and gives the files back in the same order.
    pub(crate) fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let dir = self.archives.join("now");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        eprintln!("xtask: downloading {}", summary(packages));
        let mut command = self.command("apt-get");
        output(
            command
                .args(["-q", "download"])
                .args(packages)
                .current_dir(&dir),
        )?;
        packages
            .iter()
            .map(|package| file_of(&dir, package))
            .collect()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", &self.config)
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }
}

/// Runs a command and gives its standard output, with its standard error in the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| format!("run {program}"))?;
    if !out.status.success() {
        let errors = String::from_utf8_lossy(&out.stderr);
        let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        bail!("{program} {} failed: {}", args.join(" "), errors.trim());
    }
    String::from_utf8(out.stdout).with_context(|| format!("output of {program}"))
}

/// How this machine reaches the network: proxies, certificates and the like stay in force.
fn machine_acquire() -> Result<String> {
    let format = "%F \"%v\";%n";
    let all = output(Command::new("apt-config").args(["dump", "--format", format, "Acquire"]))?;
    let wanted = |line: &&str| line.contains("Proxy") || line.contains("::http");
    Ok(all
        .lines()
        .filter(wanted)
        .map(|line| format!("{line}\n"))
        .collect())
}

/// Root's downloads are made by root: the user that apt changes to may not enter `dir`.
fn configuration(dir: &Path, architecture: &str, acquire: &str) -> String {
    let dir = dir.display();
    format!(
        "{acquire}Acquire::Languages \"none\";\n\
         Acquire::GzipIndexes \"true\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         APT::Architecture \"{architecture}\";\n\
         APT::Architectures {{ \"{architecture}\"; }};\n\
         APT::Sandbox::User \"root\";\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
         Dir::Etc::sourceparts \"{dir}/empty\";\n\
         Dir::Etc::parts \"{dir}/empty\";\n\
         Dir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"{dir}/empty\";\n\
         Dir::State::lists \"{dir}/lists\";\n\
         Dir::State::status \"{dir}/status\";\n\
         Dir::State::extended_states \"{dir}/extended_states\";\n\
         Dir::Cache \"{dir}\";\n\
         Dir::Cache::pkgcache \"\";\n\
         Dir::Cache::srcpkgcache \"\";\n\
         Dir::Cache::archives \"{dir}/archives\";\n"
    )
}

fn sources(mirror: &Mirror, keyring: bool, suites: &[Suite]) -> String {
    let signed = if keyring {
        format!("[signed-by={KEYRING}] ")
    } else {
        String::new()
    };
    let line = |suite: &Suite| {
        let uri = match suite {
            Suite::BookwormSecurity => &mirror.security,
            _ => &mirror.main,
        };
        format!("deb {signed}{uri} {} main\n", suite.name())
    };
    suites.iter().map(line).collect()
}

/// The packages of `apt-get install --simulate`: lines of the form `Inst NAME (VERSION …)`.
fn simulated(text: &str) -> Vec<String> {
    let name = |line: &str| {
        line.strip_prefix("Inst ")?
            .split(' ')
            .next()
            .map(str::to_owned)
    };
    text.lines().filter_map(name).collect()
}

fn file_of(dir: &Path, package: &str) -> Result<PathBuf> {
    let prefix = format!("{package}_");
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            return Ok(entry.path());
        }
    }
    bail!(
        "apt-get download left no file for {package} in {}",
        dir.display()
    )
}

fn summary(packages: &[String]) -> String {
    match packages {
        [one] => one.clone(),
        many => format!("{} packages", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_suites_come_from_their_own_archive() {
        let mirror = Mirror {
            main: "http://m/debian".into(),
            security: "http://m/sec".into(),
        };
        let suites = [Suite::Bookworm, Suite::BookwormSecurity];
        assert_eq!(
            sources(&mirror, false, &suites),
            "deb http://m/debian bookworm main\n\
             deb http://m/sec bookworm-security main\n"
        );
        assert!(sources(&mirror, true, &suites).starts_with("deb [signed-by=/usr/share/keyrings/"));
    }

    #[test]
    fn a_simulated_install_lists_its_packages() {
        let text = "Reading package lists...\n\
                    Inst gcc-12-base (12.2.0 Debian:12.14/oldstable [amd64])\n\
                    Inst libc6 (2.36 Debian:12.14/oldstable [amd64]) []\n\
                    Conf gcc-12-base (12.2.0 Debian:12.14/oldstable [amd64])\n";
        assert_eq!(simulated(text), ["gcc-12-base", "libc6"]);
    }

    #[test]
    fn every_directory_of_apt_that_is_written_to_is_ours() {
        let text = configuration(
            Path::new("/t/vm/apt"),
            "arm64",
            "Acquire::http::Proxy \"http://p\";\n",
        );
        assert!(text.starts_with("Acquire::http::Proxy \"http://p\";\n"));
        for directory in text.lines().filter(|line| line.starts_with("Dir::")) {
            let (_, value) = directory.split_once(' ').unwrap();
            let nothing = ["\"\";", "\"/dev/null\";"].contains(&value);
            assert!(nothing || value.starts_with("\"/t/vm/apt"), "{directory}");
        }
    }
}
