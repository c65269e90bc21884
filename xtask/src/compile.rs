//! `cargo xtask build`: the release binaries, kernel programs included.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;

use crate::source::Source;
use crate::{cmd, cross, toolchain};

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

/// Directories of this machine that would show in a binary, and what they are called there.
const CARGO: &str = "cargo";
const RUST: &str = "rust";

impl Args {
    /// What the real-OOM tests run, here and in the emulated machines: one build for both.
    pub(crate) fn for_tests() -> Self {
        Self {
            link_static: true,
            ..Self::default()
        }
    }

    /// What goes into an image.
    pub(crate) fn portable(triple: &str) -> Self {
        Self {
            target: Some(triple.to_owned()),
            ..Self::for_tests()
        }
    }
}

/// Where the binaries are.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) oom_probe: PathBuf,
    pub(crate) hog: PathBuf,
}

/// Gets the eBPF toolchain if need be, then builds `oom-probe` and `hog`.
///
/// # Errors
/// No toolchain can be had, or the build fails.
pub(crate) fn build(args: &Args) -> Result<Built> {
    build_at(args, cmd::workspace(), &cmd::target_dir())
}

/// The same from another directory that holds the same commit.
///
/// # Errors
/// As [`build`].
pub(crate) fn build_at(args: &Args, workspace: &Path, target_dir: &Path) -> Result<Built> {
    toolchain::ensure()?;
    let mut cargo = cmd::cargo();
    cargo
        .current_dir(workspace)
        .env("CARGO_TARGET_DIR", target_dir)
        // The workspace's configuration sets it, to a place of its own; here it may be another's.
        .env_remove("OOM_PROBE_EBPF_TARGET_DIR");
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
        cross::configure(&mut cargo, triple)?;
    }
    if args.link_static {
        portable(&mut cargo, triple.as_deref())?;
    }
    cmd::run(&mut cargo)?;

    let profile = if args.debug { "debug" } else { "release" };
    let directory = target_dir
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

/// Makes a build with an explicit target give static binaries that are the same, byte for byte,
/// wherever and whenever this commit is built. Only with an explicit target do the flags leave
/// build scripts and proc macros alone.
///
/// # Errors
/// The source's time is not to be told.
pub(crate) fn portable(cargo: &mut Command, triple: Option<&str>) -> Result<()> {
    let source = Source::of_workspace()?;
    let flags = static_flags(relocations(triple), &renamed_paths());
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("OOM_PROBE_COMMIT", source.commit())
        .env("OOM_PROBE_COMMIT_DATE", source.date());
    Ok(())
}

/// Directories of this machine that may not show in a portable build.
pub(crate) fn local_paths() -> Vec<PathBuf> {
    let own = [cmd::workspace().to_owned(), cmd::target_dir()];
    let renamed = renamed_paths().into_iter().map(|(path, _)| path);
    own.into_iter().chain(renamed).collect()
}

/// Directories that a compiler writes into what it builds, and what they are called instead. The
/// workspace's own is not among them: cargo names its files relative to that. So one commit is
/// built by the same flags everywhere.
fn renamed_paths() -> Vec<(PathBuf, &'static str)> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = cmd::answer(&rustc, &["--print", "sysroot"]);
    let source = |root: String| PathBuf::from(root.trim()).join("lib/rustlib/src/rust");
    let mut paths = Vec::new();
    paths.extend(cargo.map(|path| (path, CARGO)));
    paths.extend(sysroot.map(|path| (source(path), RUST)));
    paths
}

/// `CARGO_ENCODED_RUSTFLAGS`: the separator lets paths hold spaces. Of several prefixes that fit
/// the compiler takes the last.
fn static_flags(relocations: Relocations, paths: &[(PathBuf, &str)]) -> String {
    let packed = match relocations {
        Relocations::Packed => Some("-Clink-arg=-Wl,-z,pack-relative-relocs".to_owned()),
        Relocations::Plain => None,
    };
    let renamed = paths
        .iter()
        .map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()));
    iter::once("-Ctarget-feature=+crt-static".to_owned())
        .chain(packed)
        .chain(renamed)
        .collect::<Vec<_>>()
        .join("\x1f")
}

/// How a static program tells its startup which addresses to adjust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relocations {
    Plain,
    /// As a bitmap (`DT_RELR`): 0.4 MiB less of the daemon.
    Packed,
}

/// Packed where that startup is known to read them: it comes from the C library that is linked, and
/// another machine's is not asked.
fn relocations(triple: Option<&str>) -> Relocations {
    let own = triple.is_none_or(|triple| triple.starts_with(env::consts::ARCH));
    let version = cmd::answer("getconf", &["GNU_LIBC_VERSION"]);
    if own && version.as_deref().is_some_and(reads_packed) {
        Relocations::Packed
    } else {
        Relocations::Plain
    }
}

/// Whether that glibc, as in `glibc 2.36`, does: since 2.36.
fn reads_packed(version: &str) -> bool {
    let numbers = version.trim().strip_prefix("glibc ").unwrap_or_default();
    let mut numbers = numbers.split('.').map_while(|number| number.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(2), Some(36))
}

/// The target triple to name to cargo; none for the host's plain build.
fn triple(args: &Args) -> Option<String> {
    let host = || format!("{}-unknown-linux-gnu", env::consts::ARCH);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_build_names_no_directory_of_this_machine() {
        let paths = [(PathBuf::from("/home/me/my cargo"), CARGO)];
        assert_eq!(
            static_flags(Relocations::Plain, &paths)
                .split('\x1f')
                .collect::<Vec<_>>(),
            [
                "-Ctarget-feature=+crt-static",
                "--remap-path-prefix=/home/me/my cargo=cargo"
            ]
        );
    }

    #[test]
    fn relocations_are_packed_where_the_c_library_reads_them() {
        for (version, reads) in [
            ("glibc 2.36\n", true),
            ("glibc 2.41", true),
            ("glibc 3.0", true),
            ("glibc 2.35", false),
            ("glibc 2.9", false),
            ("glibc", false),
            ("musl 1.2", false),
            ("", false),
        ] {
            assert_eq!(reads_packed(version), reads, "{version:?}");
        }
        assert_eq!(
            relocations(Some("other-unknown-linux-gnu")),
            Relocations::Plain
        );
        assert!(static_flags(Relocations::Packed, &[]).contains("pack-relative-relocs"));
    }
}
