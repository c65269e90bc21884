//! The toolchain of the kernel programs: found or got once, recorded, and used by oom-probe's
//! build script. The user's default toolchain stays as it is.

mod find;
mod get;
mod plan;

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use self::plan::{Facts, Linker, Rust, Step, Way};
use crate::cmd;

/// What is recorded between runs; `oom-probe/capture/build/plan.rs` reads the three paths.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    cargo: PathBuf,
    rustc: PathBuf,
    bpf_linker: PathBuf,
    /// What `rustc -vV` said: an upgrade in place may bring another LLVM.
    rustc_says: String,
}

/// Makes sure that the build script will find an eBPF toolchain.
///
/// # Errors
/// One message that says what is missing and gives the commands that help.
pub(crate) fn ensure() -> Result<()> {
    let path = cache_dir()?.join("ebpf-toolchain.json");
    let old = fs::read_to_string(&path)
        .ok()
        .and_then(|json| serde_json::from_str(&json).ok());
    if old.as_ref().is_some_and(is_current) {
        return Ok(());
    }
    let (rust, linker) = acquire()?;
    let record = Record {
        rustc_says: find::version_text(&rust.rustc).context("the rustc just found is gone")?,
        cargo: rust.cargo,
        rustc: rust.rustc,
        bpf_linker: linker.path,
    };
    fs::create_dir_all(cache_dir()?)
        .and_then(|()| fs::write(&path, serde_json::to_string_pretty(&record)? + "\n"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!(
        "using {} (LLVM {}) with {} (LLVM {}); recorded in {}",
        record.rustc.display(),
        rust.llvm,
        record.bpf_linker.display(),
        linker.llvm,
        path.display()
    ));
    announce_to_build_script()
}

/// Installs packages, with a line that says what for.
///
/// # Errors
/// apt-get refuses; it has said why.
pub(crate) fn apt_install(packages: &[String], purpose: &str) -> Result<()> {
    get::apt_install(packages, purpose)
}

/// Where things are kept that took long to get: `OOM_PROBE_CACHE`, else oom-probe in the user's
/// cache directory. oom-probe's build script looks in the same place.
///
/// # Errors
/// No home directory is known.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let variable = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("OOM_PROBE_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("oom-probe")))
        .or_else(|| Some(variable("HOME")?.join(".cache/oom-probe")))
        .context("no place for a cache: set OOM_PROBE_CACHE or HOME")
}

fn is_current(record: &Record) -> bool {
    let Record {
        cargo,
        rustc,
        bpf_linker,
        rustc_says,
    } = record;
    cargo.exists() && bpf_linker.exists() && find::version_text(rustc).as_ref() == Some(rustc_says)
}

/// Takes one step after another until there is a toolchain or nothing is left to try.
fn acquire() -> Result<(Rust, Linker)> {
    let mut tried = Vec::new();
    loop {
        let facts = Facts {
            tried: tried.clone(),
            ..find::facts(&cache_dir()?)
        };
        let (way, outcome) = match plan::next(&facts) {
            Step::Use(rust, linker) => return Ok((rust, linker)),
            Step::Explain(text) => bail!(text),
            Step::AptUpdate => (Way::AptUpdate, get::apt_update()),
            Step::AptInstall(packages) => (
                Way::AptInstall,
                get::apt_install(
                    &packages,
                    "the compiler with its source, and LLVM for bpf-linker",
                ),
            ),
            Step::Rustup => (Way::Rustup, get::rustup()),
            Step::LinkerFromSource { llvm } => (
                Way::LinkerFromSource,
                get::linker_from_source(&cache_dir()?, llvm),
            ),
        };
        if let Err(error) = outcome {
            say(&format!("{error:#}; trying another way"));
        }
        tried.push(way);
    }
}

/// A stub build does not watch a record that does not exist: its script must look stale.
fn announce_to_build_script() -> Result<()> {
    let script = cmd::workspace().join("oom-probe/capture/build.rs");
    fs::File::open(&script)
        .and_then(|file| file.set_modified(std::time::SystemTime::now()))
        .with_context(|| format!("cannot mark {} as changed", script.display()))
}

fn say(what: &str) {
    eprintln!("ebpf toolchain: {what}");
}

/// The directory of one build of bpf-linker in the cache.
fn linker_root(cache: &Path, built: &str) -> PathBuf {
    cache.join(format!("bpf-linker-{}-{built}", plan::BPF_LINKER))
}
