//! Where this build's kernel object comes from. Pure: the build script gathers the facts, this
//! decides, and `tests/build_plan.rs` holds the tables.

use std::path::{Path, PathBuf};

/// The BPF instruction set the kernel programs are compiled for. v2 adds the unsigned
/// less-than jumps to the base set and loads on every kernel since 4.14; v3 (32-bit
/// subregisters) gains nothing here, and its zero-extensions give older verifiers more to prove.
pub(crate) const TARGET_CPU: &str = "v2";

/// The compiler, its cargo and the linker that build the kernel programs, as
/// `cargo xtask build` recorded them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    pub(crate) bpf_linker: PathBuf,
}

impl Toolchain {
    /// Reads the record that xtask's `toolchain` module writes.
    ///
    /// # Errors
    /// One line that names the missing or malformed part.
    pub(crate) fn from_record(json: &str) -> Result<Self, String> {
        let record: serde_json::Value =
            serde_json::from_str(json).map_err(|error| format!("not JSON: {error}"))?;
        let path = |field: &str| {
            record[field]
                .as_str()
                .map(PathBuf::from)
                .ok_or(format!("`{field}` is missing"))
        };
        Ok(Self {
            cargo: path("cargo")?,
            rustc: path("rustc")?,
            bpf_linker: path("bpf_linker")?,
        })
    }

    /// The first of the three programs that is not there any more.
    pub(crate) fn missing(&self, exists: impl Fn(&Path) -> bool) -> Option<&Path> {
        let Self {
            cargo,
            rustc,
            bpf_linker,
        } = self;
        [cargo, rustc, bpf_linker]
            .into_iter()
            .map(PathBuf::as_path)
            .find(|path| !exists(path))
    }
}

/// What the build script found out.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// `OOM_PROBE_EBPF`: `source`, `stub`, or unset for "source if it can be had".
    pub(crate) wish: Option<String>,
    /// `OOM_PROBE_EBPF_OBJECT`: a kernel object that was compiled elsewhere.
    pub(crate) object: Option<PathBuf>,
    /// docs.rs builds without a network and never runs the result.
    pub(crate) docs_rs: bool,
    /// The recorded toolchain, or why there is none to use.
    pub(crate) toolchain: Result<Toolchain, String>,
}

/// Where the kernel object comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Compiled now from `oom-probe-ebpf`.
    Source(Toolchain),
    /// Compiled elsewhere, copied.
    Prebuilt(PathBuf),
    /// An empty object: checks, docs and unit tests work, the daemon refuses to start.
    Stub {
        /// Said once in the build's output; none where the stub was asked for.
        warning: Option<String>,
    },
    /// What was asked for cannot be done.
    Refuse(String),
}

impl Plan {
    /// The value of `OOM_PROBE_EBPF_KIND`, compiled into the daemon for `--version` and `doctor`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::Prebuilt(_) => "prebuilt",
            Self::Stub { .. } | Self::Refuse(_) => "stub",
        }
    }
}

/// An explicit object comes first, then an explicit wish, then what the machine can do.
pub(crate) fn decide(facts: Facts) -> Plan {
    let Facts {
        wish,
        object,
        docs_rs,
        toolchain,
    } = facts;
    match (object, wish.as_deref()) {
        (Some(_), Some(wish @ ("stub" | "source"))) => Plan::Refuse(format!(
            "OOM_PROBE_EBPF={wish} and OOM_PROBE_EBPF_OBJECT exclude each other: unset one"
        )),
        (_, Some(wish)) if !matches!(wish, "stub" | "source") => Plan::Refuse(format!(
            "OOM_PROBE_EBPF={wish} is not known: use `source` or `stub`, or unset it"
        )),
        (Some(object), _) => Plan::Prebuilt(object),
        (None, Some("stub")) => Plan::Stub { warning: None },
        (None, Some(_)) => match toolchain {
            Ok(toolchain) => Plan::Source(toolchain),
            Err(reason) => Plan::Refuse(format!(
                "OOM_PROBE_EBPF=source, but {reason}: run `cargo xtask build` once"
            )),
        },
        (None, None) if docs_rs => Plan::Stub { warning: None },
        (None, None) => match toolchain {
            Ok(toolchain) => Plan::Source(toolchain),
            Err(reason) => Plan::Stub {
                warning: Some(format!(
                    "without the kernel programs, so `oom-probe run` will refuse to start \
                     ({reason}); `cargo xtask build` gets the eBPF toolchain and builds them"
                )),
            },
        },
    }
}

/// Whether a variable of the outer build may reach the inner one. The outer cargo describes its
/// own package, target, profile and compiler in variables that the inner cargo would take for
/// its user's wishes; where to find crates, and how to reach them, holds for both.
pub(crate) fn passes_to_inner_cargo(variable: &str) -> bool {
    const KEPT: [&str; 3] = ["CARGO_HOME", "CARGO_MAKEFLAGS", "RUSTUP_HOME"];
    const KEPT_GROUPS: [&str; 5] = [
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
    ];
    const OUTER: [&str; 4] = ["CARGO", "CLIPPY_", "DEP_", "RUST"];
    KEPT.contains(&variable)
        || KEPT_GROUPS.iter().any(|group| variable.starts_with(group))
        || !OUTER.iter().any(|outer| variable.starts_with(outer))
}

/// The inner cargo's arguments after `build`.
pub(crate) fn cargo_arguments(log_feature: bool, target_dir: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--package",
        "oom-probe-ebpf",
        "--bin",
        "oom-probe",
        "--release",
        "--locked",
        "--target",
        "bpfel-unknown-none",
        "-Zbuild-std=core",
        "--target-dir",
    ]
    .map(String::from)
    .into();
    arguments.push(target_dir.display().to_string());
    if log_feature {
        arguments.extend(["--features".into(), "log".into()]);
    }
    arguments
}

/// `CARGO_ENCODED_RUSTFLAGS` of the inner build; the separator lets paths hold spaces. The object's
/// BTF names source files: `renamed` are directories and what they are called instead, so that the
/// object does not depend on where it was built.
pub(crate) fn encoded_rustflags(
    target_arch: &str,
    bpf_linker: &Path,
    renamed: &[(PathBuf, &str)],
) -> String {
    let flags = [
        // Register and calling conventions of the machine whose kernel runs the programs:
        // aya-ebpf chooses its pt_regs by it.
        format!("--cfg=bpf_target_arch=\"{target_arch}\""),
        // bpf-linker makes BTF, which the kernel demands for the maps, out of debug information.
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        format!("-Clinker={}", bpf_linker.display()),
        format!("-Ctarget-cpu={TARGET_CPU}"),
    ];
    let renamed = renamed
        .iter()
        .map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()));
    let flags: Vec<_> = flags.into_iter().chain(renamed).collect();
    flags.join("\x1f")
}
