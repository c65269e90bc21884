//! Provides `OUT_DIR/oom-probe.o`, the kernel programs, and tells the build scripts of crates that use
//! this one where they came from.

#[path = "build/ebpf.rs"]
mod ebpf;
#[path = "build/plan.rs"]
mod plan;
#[path = "build/strip.rs"]
mod strip;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use plan::{Facts, Plan, Toolchain};

const WISH: &str = "OOM_PROBE_EBPF";
const OBJECT: &str = "OOM_PROBE_EBPF_OBJECT";
const TOOLCHAIN: &str = "OOM_PROBE_EBPF_TOOLCHAIN";
const TARGET_DIR: &str = "OOM_PROBE_EBPF_TARGET_DIR";
const CACHE: &str = "OOM_PROBE_CACHE";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let out_dir = PathBuf::from(cargo_variable("OUT_DIR")?);
    let manifest_dir = PathBuf::from(cargo_variable("CARGO_MANIFEST_DIR")?);
    let target_arch = cargo_variable("CARGO_CFG_TARGET_ARCH")?;
    let workspace = manifest_dir
        .ancestors()
        .nth(2)
        .ok_or("the package has no workspace above it")?;
    let object = out_dir.join("oom-probe.o");

    for path in [
        "build.rs",
        "build",
        "../../oom-probe-ebpf",
        "../../oom-probe-common",
        "../../Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={path}");
    }
    let plan = plan::decide(facts());
    match &plan {
        Plan::Source(toolchain) => {
            let log_feature = env::var_os("CARGO_FEATURE_EBPF_LOG").is_some();
            let target_dir = inner_target_dir(&out_dir, &target_arch, log_feature);
            let built =
                ebpf::compile(toolchain, workspace, &target_dir, &target_arch, log_feature)?;
            ebpf::install(&built, &object)?;
        }
        Plan::Prebuilt(prebuilt) => {
            println!("cargo::rerun-if-changed={}", prebuilt.display());
            ebpf::install(prebuilt, &object)?;
        }
        Plan::Stub { warning } => {
            fs::write(&object, [])
                .map_err(|error| format!("cannot write {}: {error}", object.display()))?;
            if let Some(warning) = warning {
                println!("cargo::warning={warning}");
            }
        }
        Plan::Refuse(message) => return Err(message.clone()),
    }
    println!("cargo::metadata=kind={}", plan.kind());
    Ok(())
}

/// Where the inner cargo builds. The object is the same for every profile and target triple of one
/// architecture, so the workspace's configuration names one place for all of them; without it the
/// place is this script's own.
fn inner_target_dir(out_dir: &Path, target_arch: &str, log_feature: bool) -> PathBuf {
    let variant = if log_feature { "log" } else { "plain" };
    match user_variable(TARGET_DIR) {
        Some(shared) => PathBuf::from(shared).join(target_arch).join(variant),
        None => out_dir.join("ebpf"),
    }
}

/// A variable that cargo always sets for build scripts.
fn cargo_variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: cargo runs this script"))
}

/// A user's variable; an empty one is an unset one.
fn user_variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn facts() -> Facts {
    Facts {
        wish: user_variable(WISH),
        object: user_variable(OBJECT).map(PathBuf::from),
        docs_rs: env::var_os("DOCS_RS").is_some(),
        toolchain: recorded_toolchain(),
    }
}

fn recorded_toolchain() -> Result<Toolchain, String> {
    let record = match user_variable(TOOLCHAIN) {
        Some(path) => PathBuf::from(path),
        None => cache_dir()
            .ok_or("neither HOME nor XDG_CACHE_HOME is set")?
            .join("ebpf-toolchain.json"),
    };
    // Watching a file that does not exist would run this script, and compile the daemon, every
    // time; xtask makes this script's own file newer when it records a first toolchain.
    if record.exists() {
        println!("cargo::rerun-if-changed={}", record.display());
    }
    let json = fs::read_to_string(&record)
        .map_err(|_| format!("no eBPF toolchain is recorded in {}", record.display()))?;
    let toolchain = Toolchain::from_record(&json)
        .map_err(|error| format!("{} is unusable: {error}", record.display()))?;
    match toolchain.missing(Path::exists) {
        Some(path) => Err(format!("{} has gone", path.display())),
        None => Ok(toolchain),
    }
}

/// The same place as in xtask's `toolchain` module.
fn cache_dir() -> Option<PathBuf> {
    if let Some(cache) = user_variable(CACHE) {
        return Some(PathBuf::from(cache));
    }
    let base = match user_variable("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(user_variable("HOME")?).join(".cache"),
    };
    Some(base.join("oom-probe"))
}
