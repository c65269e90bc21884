//! Packages on PyPI, taken only with the content that their hashes name.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cmd;

/// A package in one version, and its files that may be taken.
#[derive(Debug)]
pub(crate) struct Wheel {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// SHA-256 of each file, one for each architecture.
    pub(crate) sha256: &'static [&'static str],
}

impl Wheel {
    /// Downloads the file for this machine.
    ///
    /// # Errors
    /// pip cannot get it, or its content is not what is expected.
    pub(crate) fn download(&self, to: &Path) -> Result<()> {
        cmd::run_quietly(&mut self.pip("download", "--dest", to)?)
    }

    /// Unpacks the package into a directory, without installing anything elsewhere.
    ///
    /// # Errors
    /// Those of [`Wheel::download`].
    pub(crate) fn install(&self, root: &Path) -> Result<()> {
        cmd::run_quietly(&mut self.pip("install", "--target", root)?)
    }

    fn pip(&self, command: &str, place: &str, directory: &Path) -> Result<Command> {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        // pip takes hashes from such a file only.
        let file = directory.join("requirements.txt");
        fs::write(&file, self.requirement())
            .with_context(|| format!("cannot write {}", file.display()))?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", command, "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            .arg("--require-hashes")
            .arg("--requirement")
            .arg(&file)
            .arg(place)
            .arg(directory);
        Ok(pip)
    }

    /// The line of a requirements file.
    fn requirement(&self) -> String {
        let Self {
            name,
            version,
            sha256,
        } = self;
        let hashes = sha256.iter().map(|hash| format!(" --hash=sha256:{hash}"));
        format!("{name}=={version}{}\n", hashes.collect::<String>())
    }
}

/// Whether there is a pip to install wheels with.
pub(crate) fn has_pip() -> bool {
    cmd::answer("python3", &["-m", "pip", "--version"]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_names_every_hash() {
        let wheel = Wheel {
            name: "typos",
            version: "1.2.3",
            sha256: &["aa", "bb"],
        };
        let line = "typos==1.2.3 --hash=sha256:aa --hash=sha256:bb\n";
        assert_eq!(wheel.requirement(), line);
    }

    /// What else is got comes by apt, rustup and cargo, which check what they get.
    #[test]
    fn nothing_is_downloaded_past_a_hash() {
        let mut waiting = vec![cmd::workspace().join("xtask/src")];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                let entries = fs::read_dir(&path).unwrap();
                waiting.extend(entries.map(|entry| entry.unwrap().path()));
            } else if !path.ends_with("src/wheel.rs") {
                let text = fs::read_to_string(&path).unwrap();
                for program in ["pip", "curl", "wget", "binstall"] {
                    let quoted = format!("\"{program}\"");
                    assert!(!text.contains(&quoted), "{}: {program}", path.display());
                }
            }
        }
    }

    /// Makes a wheel without content, `empty` 1.0, and prints its SHA-256.
    const MAKE: &str = r#"
import hashlib, sys, zipfile
path = sys.argv[1] + "/empty-1.0-py3-none-any.whl"
with zipfile.ZipFile(path, "w") as wheel:
    info = "empty-1.0.dist-info/"
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: empty\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "")
print(hashlib.sha256(open(path, "rb").read()).hexdigest())
"#;

    /// With a wheel of its own, so that it needs no network.
    #[test]
    fn a_file_with_another_content_is_refused() {
        if cmd::answer("python3", &["-m", "pip", "--version"]).is_none() {
            eprintln!("skipped: there is no pip");
            return;
        }
        let index = tempfile::tempdir().unwrap();
        let path = index.path().to_str().unwrap();
        let hash = cmd::answer("python3", &["-c", MAKE, path]).unwrap();
        let right: &'static str = hash.trim().to_owned().leak();
        let wrong = "0000000000000000000000000000000000000000000000000000000000000000";
        for (hashes, taken) in [
            (vec![right], true),
            (vec![wrong, right], true),
            (vec![wrong], false),
        ] {
            let wheel = Wheel {
                name: "empty",
                version: "1.0",
                sha256: hashes.leak(),
            };
            for (command, place) in [("download", "--dest"), ("install", "--target")] {
                let directory = tempfile::tempdir().unwrap();
                let mut pip = wheel.pip(command, place, directory.path()).unwrap();
                pip.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", path);
                let output = pip.output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(
                    output.status.success(),
                    taken,
                    "{command} {wheel:?}: {said}"
                );
                assert_eq!(said.contains("DO NOT MATCH THE HASHES"), !taken, "{said}");
            }
        }
    }
}
