//! The archives as others read them. skopeo has the parsers of podman, buildah and CRI-O: of OCI
//! layouts, and of what `docker save` writes and `docker load` takes, which otherwise only a docker
//! engine could judge.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{Images, Written};
use crate::cmd;
use crate::compile::Built;
use crate::debian::{self, Suite};
use crate::report::Outcome;

/// The program and what it is linked to, but for the C library.
const PACKAGES: [&str; 8] = [
    "skopeo",
    "libassuan0",
    "libdevmapper1.02.1",
    "libgpg-error0",
    "libgpgme11",
    "libpcre2-8-0",
    "libselinux1",
    "libudev1",
];

/// Writes the archives of programs for this machine and reads them, or tells why it cannot.
pub(crate) fn outcome(built: &Built) -> Outcome {
    let skopeo = match Skopeo::find() {
        Ok(skopeo) => skopeo,
        Err(error) => return Outcome::Skipped(format!("{error:#}")),
    };
    Outcome::of((|| {
        let directory = tempfile::tempdir()?;
        let images = super::of_this_machine(built, directory.path())?;
        skopeo.reads(&images)
    })())
}

/// Reads archives that were written.
///
/// # Errors
/// There is no skopeo to be had, or it does not take them.
pub(super) fn run(images: &Images) -> Result<()> {
    Skopeo::find()?.reads(images)
}

/// The one on the PATH, else Debian's, unpacked and never installed.
struct Skopeo {
    program: PathBuf,
    libraries: Option<OsString>,
}

impl Skopeo {
    fn find() -> Result<Self> {
        let skopeo = match cmd::which("skopeo") {
            Some(program) => Self {
                program,
                libraries: None,
            },
            None => {
                let root = debian::unpacked(Suite::Bookworm, "skopeo", &PACKAGES)?;
                let triple = format!("{}-linux-gnu", env::consts::ARCH);
                let libraries = ["lib", "usr/lib"].map(|part| root.join(part).join(&triple));
                Self {
                    program: root.join("usr/bin/skopeo"),
                    libraries: Some(env::join_paths(libraries)?),
                }
            }
        };
        skopeo
            .answer(&["--version".into()])
            .context("no skopeo that runs on this system")?;
        Ok(skopeo)
    }

    fn answer(&self, arguments: &[OsString]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let output = command.output().context("cannot run skopeo")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` failed: {}", cmd::shown(&command), why.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn reads(&self, images: &Images) -> Result<()> {
        for (name, image) in [("oom-probe", &images.oom_probe), ("hog", &images.hog)] {
            self.reads_both_forms(name, image)
                .with_context(|| image.path.display().to_string())?;
        }
        Ok(())
    }

    /// Copies the image out of the archive in both forms, which checks each digest on the way.
    fn reads_both_forms(&self, name: &str, image: &Written) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let archive = image.path.display();
        let docker = self.copy(
            &format!("docker-archive:{archive}:{}", image.name),
            &directory,
        )?;
        let oci = self.copy(&format!("oci-archive:{archive}"), &directory)?;
        ensure!(
            docker == oci,
            "docker's form is of another image: {docker}, {oci}"
        );
        ensure!(
            oci["config"]["Entrypoint"] == serde_json::json!([format!("/{name}")]),
            "it runs something else: {oci}"
        );

        let whole = directory.path().join("whole");
        self.copy_to(&format!("oci-archive:{archive}"), &whole, &["--all"])?;
        let digest = self.inspect(&whole, &["--format", "{{.Digest}}"])?;
        ensure!(
            digest.trim() == image.digest,
            "its digest is {}, not {}",
            digest.trim(),
            image.digest
        );
        Ok(())
    }

    /// The configuration of the image for this machine.
    fn copy(&self, source: &str, directory: &TempDir) -> Result<Value> {
        let (form, _) = source.split_once(':').context("an image has a transport")?;
        let copy = directory.path().join(form);
        self.copy_to(source, &copy, &[])?;
        Ok(serde_json::from_str(&self.inspect(&copy, &["--config"])?)?)
    }

    fn copy_to(&self, source: &str, copy: &Path, options: &[&str]) -> Result<()> {
        let mut arguments: Vec<OsString> =
            ["--insecure-policy", "--tmpdir"].map(OsString::from).into();
        arguments.push(copy.parent().context("it has a directory")?.into());
        arguments.push("copy".into());
        arguments.extend(options.iter().map(OsString::from));
        arguments.push(source.into());
        arguments.push(directory(copy));
        self.answer(&arguments).map(drop)
    }

    fn inspect(&self, copy: &Path, options: &[&str]) -> Result<String> {
        let mut arguments = vec!["inspect".into()];
        arguments.extend(options.iter().map(OsString::from));
        arguments.push(directory(copy));
        self.answer(&arguments)
    }
}

/// A directory, in skopeo's words.
fn directory(path: &Path) -> OsString {
    let mut name = OsString::from("dir:");
    name.push(path);
    name
}
