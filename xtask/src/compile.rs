//! `cargo xtask build`: the release binaries, kernel programs included.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;

use crate::{cmd, toolchain};

/// What to build, and how.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct Args {
    /// Without optimisation, into target/debug.
    #[arg(long)]
    debug: bool,
    /// Build for another target triple, into target/TRIPLE/release.
    #[arg(long, value_name = "TRIPLE", conflicts_with = "link_static")]
    target: Option<String>,
    /// Link statically (glibc), into target/TRIPLE/release.
    #[arg(long = "static")]
    link_static: bool,
}

impl Args {
    /// What the real-OOM tests run, here and in the emulated machines: one build for both.
    pub(crate) fn for_tests() -> Self {
        Self {
            link_static: true,
            ..Self::default()
        }
    }
}

/// Where the binaries are.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) oom_probe: PathBuf,
    pub(crate) hog: PathBuf,
}

/// Gets the eBPF toolchain if need be, then builds `oom-probe` and `hog`.
///
/// # Errors
/// No toolchain can be had, or the build fails.
pub(crate) fn build(args: &Args) -> Result<Built> {
    toolchain::ensure()?;
    let mut cargo = cmd::cargo();
    cargo.args([
        "build",
        "--package",
        "oom-probe",
        "--package",
        "hog",
        "--bins",
    ]);
    if !args.debug {
        cargo.arg("--release");
    }
    let triple = triple(args);
    if let Some(triple) = &triple {
        cargo.args(["--target", triple]);
    }
    if args.link_static {
        // Only with an explicit target do the flags leave build scripts and proc macros alone.
        cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    }
    cmd::run(&mut cargo)?;

    let profile = if args.debug { "debug" } else { "release" };
    let directory = cmd::target_dir()
        .join(triple.as_deref().unwrap_or(""))
        .join(profile);
    let built = |name: &str| -> PathBuf { directory.join(name) };
    Ok(Built {
        oom_probe: built("oom-probe"),
        hog: built("hog"),
    })
}

/// Builds the hog alone, which takes no eBPF toolchain.
///
/// # Errors
/// The build fails.
pub(crate) fn hog() -> Result<PathBuf> {
    let mut cargo = cmd::cargo();
    let status = cargo
        .args(["build", "--release", "--package", "hog"])
        .status();
    if !status.context("cannot run cargo")?.success() {
        bail!("the hog does not compile");
    }
    Ok(cmd::target_dir().join("release/hog"))
}

/// The target triple to name to cargo; none for the host's plain build.
fn triple(args: &Args) -> Option<String> {
    let host = || format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    args.target.clone().or_else(|| args.link_static.then(host))
}

/// `cargo xtask build`.
///
/// # Errors
/// As [`build`].
pub(crate) fn run(args: &Args) -> Result<()> {
    let Built { oom_probe, hog } = build(args)?;
    for path in [oom_probe, hog] {
        println!(
            "{}",
            path.strip_prefix(cmd::workspace())
                .unwrap_or(&path)
                .display()
        );
    }
    Ok(())
}
