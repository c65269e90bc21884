//! The recordings of real kernels; see `fixtures/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use capture::{
    btf::{Btf, KERNEL_BTF},
    cgroup::hierarchy::{Hierarchy, MemoryRoot},
    environment::{
        Calls, Capabilities, Capability, Facts, Lockdown, Memlock, Seccomp, Tracefs, signal_fields,
    },
    layout::{self, Layout, format::Format},
};

/// Names of the recorded kernels.
pub(crate) const KERNELS: [&str; 6] = ["5.10", "6.1", "6.1-rt", "6.12", "6.18", "7.2"];

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

pub(crate) fn btf_bytes(kernel: &str) -> Vec<u8> {
    fs::read(path(&format!("btf/{kernel}.btf"))).unwrap()
}

pub(crate) fn layout(kernel: &str) -> Layout {
    layout::resolve(&Btf::read(&path(&format!("btf/{kernel}.btf"))).unwrap())
}

/// What a C compiler says about the offsets.
pub(crate) fn offsets(kernel: &str) -> BTreeMap<String, u32> {
    let text = fs::read_to_string(path(&format!("btf/{kernel}.offsets"))).unwrap();
    let line = |line: &str| {
        let (name, value) = line.split_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    text.lines().map(line).collect()
}

pub(crate) fn format_text(kernel: &str, tracepoint: &str) -> String {
    fs::read_to_string(path(&format!("format/{kernel}/{tracepoint}"))).unwrap()
}

pub(crate) fn format(kernel: &str, tracepoint: &str) -> Format {
    Format::parse(&format_text(kernel, tracepoint)).unwrap()
}

/// A node with that kernel where everything is allowed and visible.
pub(crate) fn facts(kernel: &str) -> Facts {
    Facts {
        release: kernel.to_owned(),
        btf_path: KERNEL_BTF.into(),
        btf: Ok(layout(kernel)),
        lockdown: Lockdown::None,
        tracefs: Ok(Tracefs {
            mount: "/sys/kernel/tracing".into(),
            mark_victim: format(kernel, "mark_victim"),
            signal_generate: signal_fields(&format(kernel, "signal_generate")),
        }),
        kprobes: true,
        capabilities: Capabilities::of(&[
            Capability::Bpf,
            Capability::Perfmon,
            Capability::SysResource,
        ]),
        initial_user_namespace: true,
        seccomp: Seccomp::Disabled,
        memlock: Memlock {
            soft: 64 << 10,
            hard: 64 << 10,
        },
        bpf: Calls {
            reach: libc::E2BIG,
            create: 0,
        },
        host_proc: Ok(()),
        cgroup: Ok(MemoryRoot {
            hierarchy: Hierarchy::V2,
            path: "/sys/fs/cgroup".into(),
        }),
    }
}
