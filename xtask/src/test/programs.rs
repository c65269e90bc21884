//! Compiles the test programs and what they run: once, static, for here and the emulated machines.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{cmd, vm};

/// Packages whose tests run: all but the kernel programs, which compile only for the kernel.
const TESTED: [&str; 6] = [
    "--workspace",
    "--exclude",
    "oom-probe-ebpf",
    "--exclude",
    "xtask",
    "--tests",
];

/// The test that has its own main and speaks of scenarios.
pub(super) const REAL_OOM: &str = "real_oom";

/// A program with tests in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// `oom_probe` for a crate's own tests, `oom-probe/it` for integration tests.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Where cargo would run it: the directory of its package.
    pub(super) directory: PathBuf,
}

/// Everything that tests need.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) tests: Vec<Program>,
    pub(super) oom_probe: PathBuf,
    pub(super) hog: PathBuf,
    pub(super) vm_init: PathBuf,
}

impl Programs {
    /// Compiles them; a warning is an error.
    ///
    /// # Errors
    /// What cargo has said.
    pub(super) fn compile() -> Result<Self> {
        let mut cargo = cargo("test");
        cargo.args(["--no-run", "--locked"]).args(TESTED);
        vm::for_machines(&mut cargo);
        let mut messages = artifacts(&mut cargo)?;
        let mut cargo = self::cargo("build");
        cargo.args(["--locked", "--package", "vm-init"]);
        vm::for_machines(&mut cargo);
        messages.extend(artifacts(&mut cargo)?);
        // As this xtask was compiled: its dependencies are there.
        let mut cargo = self::cargo("test");
        cargo.args(["--no-run", "--locked", "--package", "xtask", "--tests"]);
        if crate::whole::IS_HERE {
            cargo.args(["--features", "full"]);
        }
        messages.extend(artifacts(&mut cargo)?);
        let program = |name: &str| {
            let found = messages.iter().find(|artifact| artifact.is_program(name));
            let found = found.and_then(|artifact| artifact.executable.clone());
            found.with_context(|| format!("the build made no program {name}"))
        };
        Ok(Self {
            oom_probe: program("oom-probe")?,
            hog: program("hog")?,
            vm_init: program("vm-init")?,
            tests: messages.iter().filter_map(Artifact::test).collect(),
        })
    }

    /// The real-OOM test.
    pub(super) fn real_oom(&self) -> Option<&Program> {
        let mut tests = self.tests.iter();
        tests.find(|program| program.name.ends_with(REAL_OOM))
    }
}

/// The real-OOM test whose own daemon has the kernel programs' messages.
///
/// # Errors
/// What cargo has said.
#[cfg(feature = "full")]
pub(super) fn with_messages() -> Result<Program> {
    let mut cargo = cargo("test");
    cargo.args(["--no-run", "--locked", "--package", "oom-probe"]);
    cargo.args(["--features", "ebpf-log", "--test", REAL_OOM]);
    vm::for_machines(&mut cargo);
    let built = artifacts(&mut cargo)?;
    let test = built.iter().find_map(Artifact::test);
    test.context("the build made no test")
}

/// Without what only a debugger reads, which is a third of the time.
fn cargo(subcommand: &str) -> Command {
    let mut cargo = cmd::cargo();
    cargo
        .arg(subcommand)
        .env("CARGO_PROFILE_DEV_DEBUG", "false");
    cargo
}

/// A line of cargo's about something that it has built.
#[derive(Debug, Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// A line of the compiler's.
#[derive(Debug, Deserialize)]
struct Message {
    message: Diagnostic,
}

#[derive(Debug, Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
}

impl Artifact {
    fn is_program(&self, name: &str) -> bool {
        !self.profile.test && self.target.name == name && self.executable.is_some()
    }

    fn test(&self) -> Option<Program> {
        let directory = self.manifest_path.parent()?.to_owned();
        let package = directory.file_name()?.to_str()?.to_owned();
        let path = self.executable.clone().filter(|_| self.profile.test)?;
        let is_integration = self.target.kind.iter().any(|kind| kind == "test");
        Some(Program {
            name: if is_integration {
                format!("{package}/{}", self.target.name)
            } else {
                self.target.name.clone()
            },
            path,
            directory,
        })
    }
}

/// What cargo makes; its own progress is shown.
fn artifacts(cargo: &mut Command) -> Result<Vec<Artifact>> {
    cargo
        .args(["--message-format", "json"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    eprintln!("$ {}", cmd::shown(cargo));
    let output = cargo.output().context("cannot run cargo")?;
    let (artifacts, diagnostics) = read(&String::from_utf8_lossy(&output.stdout));
    for diagnostic in &diagnostics {
        eprint!("{}", diagnostic.rendered.as_deref().unwrap_or_default());
    }
    if !output.status.success() {
        bail!("`{}` failed", cmd::shown(cargo));
    }
    let warnings = diagnostics.iter().filter(|found| found.level == "warning");
    match warnings.count() {
        0 => Ok(artifacts),
        count => bail!("{count} warnings of the compiler"),
    }
}

fn read(lines: &str) -> (Vec<Artifact>, Vec<Diagnostic>) {
    let mut artifacts = Vec::new();
    let mut diagnostics = Vec::new();
    for line in lines.lines() {
        if let Ok(artifact) = serde_json::from_str::<Artifact>(line) {
            artifacts.push(artifact);
        } else if let Ok(message) = serde_json::from_str::<Message>(line) {
            diagnostics.push(message.message);
        }
    }
    (artifacts, diagnostics)
}

/// The PATH and the programs that tests are given.
pub(super) fn environment(command: &mut Command, programs: &Programs, path: &std::ffi::OsStr) {
    command
        .env("PATH", path)
        .env("OOM_PROBE_BIN", &programs.oom_probe)
        .env("HOG_BIN", &programs.hog)
        // Here texts are compared, whatever the shell was told last.
        .env_remove("OOM_PROBE_UPDATE_SNAPSHOTS");
}

/// Where a test runs.
pub(super) fn command(program: &Program, directory: &Path) -> Command {
    let mut command = Command::new(&program.path);
    command.current_dir(directory);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"reason":"compiler-artifact","manifest_path":"/w/oom-probe/Cargo.toml","target":{"name":"oom_probe","kind":["lib"]},"profile":{"test":false},"executable":null}
{"reason":"compiler-message","message":{"level":"warning","rendered":"warning: unused\n"}}
{"reason":"compiler-artifact","manifest_path":"/w/oom-probe/Cargo.toml","target":{"name":"oom_probe","kind":["lib"]},"profile":{"test":true},"executable":"/t/lib"}
{"reason":"compiler-artifact","manifest_path":"/w/oom-probe/Cargo.toml","target":{"name":"it","kind":["test"]},"profile":{"test":true},"executable":"/t/it"}
{"reason":"compiler-artifact","manifest_path":"/w/hog/Cargo.toml","target":{"name":"hog","kind":["bin"]},"profile":{"test":false},"executable":"/t/hog"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn tests_programs_and_warnings_are_found_in_what_cargo_says() {
        let (artifacts, diagnostics) = read(LINES);
        let tests: Vec<_> = artifacts.iter().filter_map(Artifact::test).collect();
        let names: Vec<_> = tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["oom_probe", "oom-probe/it"]);
        assert_eq!(tests[1].directory, PathBuf::from("/w/oom-probe"));
        let hog: Vec<_> = artifacts.iter().filter(|a| a.is_program("hog")).collect();
        assert_eq!(hog.len(), 1);
        assert_eq!(diagnostics.len(), 1);
    }
}
