//! The build script's decisions, held to tables.

#[path = "../capture/build/plan.rs"]
mod plan;

use std::path::{Path, PathBuf};

use plan::{Facts, Plan, TARGET_CPU, Toolchain, decide};

fn toolchain() -> Toolchain {
    Toolchain {
        cargo: "/usr/bin/cargo".into(),
        rustc: "/usr/bin/rustc".into(),
        bpf_linker: "/cache/bin/bpf-linker".into(),
    }
}

fn facts(wish: Option<&str>, object: Option<&str>, toolchain: Result<Toolchain, String>) -> Facts {
    Facts {
        wish: wish.map(String::from),
        object: object.map(PathBuf::from),
        docs_rs: false,
        toolchain,
    }
}

#[test]
fn the_object_comes_from_what_was_asked_for_and_else_from_what_there_is() {
    let present = || Ok(toolchain());
    let absent = || Err("no eBPF toolchain is recorded".to_owned());
    let prebuilt = Plan::Prebuilt("/o".into());
    let cases = [
        (facts(None, None, present()), Plan::Source(toolchain())),
        (
            facts(Some("source"), None, present()),
            Plan::Source(toolchain()),
        ),
        (
            facts(Some("stub"), None, present()),
            Plan::Stub { warning: None },
        ),
        (
            facts(Some("stub"), None, absent()),
            Plan::Stub { warning: None },
        ),
        (facts(None, Some("/o"), present()), prebuilt.clone()),
        (facts(None, Some("/o"), absent()), prebuilt),
        (
            Facts {
                docs_rs: true,
                ..facts(None, None, present())
            },
            Plan::Stub { warning: None },
        ),
        (
            Facts {
                docs_rs: true,
                ..facts(Some("source"), None, present())
            },
            Plan::Source(toolchain()),
        ),
    ];
    for (facts, expected) in cases {
        assert_eq!(decide(facts.clone()), expected, "{facts:?}");
    }
}

#[test]
fn without_a_toolchain_the_stub_says_why_and_what_to_run() {
    let Plan::Stub {
        warning: Some(warning),
    } = decide(facts(None, None, Err("R".into())))
    else {
        panic!("a stub with a warning");
    };
    assert!(
        warning.contains("(R)") && warning.contains("cargo xtask build"),
        "{warning}"
    );
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let cases = [
        (
            facts(Some("source"), None, Err("R".into())),
            "OOM_PROBE_EBPF=source, but R",
        ),
        (
            facts(Some("stub"), Some("/o"), Ok(toolchain())),
            "exclude each other",
        ),
        (
            facts(Some("source"), Some("/o"), Ok(toolchain())),
            "exclude each other",
        ),
        (
            facts(Some("yes"), None, Ok(toolchain())),
            "OOM_PROBE_EBPF=yes is not known",
        ),
        (
            facts(Some("yes"), Some("/o"), Ok(toolchain())),
            "OOM_PROBE_EBPF=yes is not known",
        ),
    ];
    for (facts, expected) in cases {
        let plan = decide(facts.clone());
        let Plan::Refuse(message) = &plan else {
            panic!("{facts:?} gave {plan:?}")
        };
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_daemon_is_told_where_its_object_came_from() {
    assert_eq!(Plan::Source(toolchain()).kind(), "source");
    assert_eq!(Plan::Prebuilt("/o".into()).kind(), "prebuilt");
    assert_eq!(Plan::Stub { warning: None }.kind(), "stub");
}

#[test]
fn a_record_names_all_three_programs() {
    let json = r#"{"cargo":"/usr/bin/cargo","rustc":"/usr/bin/rustc",
                   "bpf_linker":"/cache/bin/bpf-linker","origin":"ignored"}"#;
    assert_eq!(Toolchain::from_record(json), Ok(toolchain()));
    assert_eq!(
        Toolchain::from_record(r#"{"cargo":"/c","rustc":"/r"}"#),
        Err("`bpf_linker` is missing".into())
    );
    assert!(Toolchain::from_record("{").is_err_and(|error| error.starts_with("not JSON")));
}

#[test]
fn a_program_that_has_gone_is_named() {
    let toolchain = toolchain();
    assert_eq!(toolchain.missing(|_| true), None);
    let gone = toolchain.missing(|path| path != Path::new("/cache/bin/bpf-linker"));
    assert_eq!(gone, Some(Path::new("/cache/bin/bpf-linker")));
}

#[test]
fn the_inner_cargo_learns_how_to_reach_crates_and_nothing_else_of_the_outer_one() {
    let kept = [
        "PATH",
        "HOME",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "CARGO_NET_OFFLINE",
        "CARGO_HTTP_PROXY",
        "CARGO_REGISTRIES_MIRROR_INDEX",
        "CARGO_MAKEFLAGS",
        "https_proxy",
    ];
    let dropped = [
        "CARGO",
        "CARGO_MANIFEST_DIR",
        "CARGO_PKG_NAME",
        "CARGO_CFG_TARGET_ARCH",
        "CARGO_FEATURE_X",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_PROFILE_RELEASE_LTO",
        "CARGO_TARGET_DIR",
        "CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER",
        "CARGO_UNSTABLE_BUILD_STD",
        "CLIPPY_ARGS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTUP_TOOLCHAIN",
        "RUST_RECURSION_COUNT",
        "RUSTC_BOOTSTRAP",
    ];
    for variable in kept {
        assert!(plan::passes_to_inner_cargo(variable), "{variable}");
    }
    for variable in dropped {
        assert!(!plan::passes_to_inner_cargo(variable), "{variable}");
    }
}

#[test]
fn the_log_feature_of_the_daemon_is_that_of_the_programs() {
    let with = plan::cargo_arguments(true, Path::new("/t"));
    let without = plan::cargo_arguments(false, Path::new("/t"));
    assert_eq!(
        with.strip_prefix(without.as_slice()),
        Some(&["--features", "log"].map(String::from)[..])
    );
}

#[test]
fn rustflags_keep_paths_with_spaces_whole() {
    let renamed = [(PathBuf::from("/c d"), "oom-probe")];
    let flags = plan::encoded_rustflags("aarch64", Path::new("/a b/bpf-linker"), &renamed);
    let flags: Vec<_> = flags.split('\x1f').map(String::from).collect();
    assert!(flags.contains(&"-Clinker=/a b/bpf-linker".into()));
    assert!(flags.contains(&"--cfg=bpf_target_arch=\"aarch64\"".into()));
    assert!(flags.contains(&format!("-Ctarget-cpu={TARGET_CPU}")));
    assert!(flags.contains(&"--remap-path-prefix=/c d=oom-probe".into()));
}
