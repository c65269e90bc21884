//! What to do next to have an eBPF toolchain. Pure: `find` gathers the facts, `get` carries the
//! steps out, and after each step the facts are gathered again.
//!
//! The kernel programs need a rustc with its own source (`-Zbuild-std=core`) and a bpf-linker
//! whose LLVM is that of the rustc or a newer one: older LLVMs do not read newer bitcode.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

/// The oldest compiler that the workspace's `rust-version` allows.
pub(crate) const OLDEST_RUST: Version = Version {
    major: 1,
    minor: 89,
};
/// The bpf-linker that the kernel programs are tested with.
pub(crate) const BPF_LINKER: &str = "0.13.0";
/// The LLVM versions that this bpf-linker can be built against: its features `llvm-NN`.
pub(crate) const LINKER_LLVMS: [u32; 3] = [21, 22, 23];
/// The release that rustup gets: one with an LLVM that the bpf-linker above can be built against. A numbered release never moves under the user, unlike `nightly`.
pub(crate) const RUSTUP_RELEASE: &str = "1.96.0";
/// The LLVM of that release.
const RUSTUP_LLVM: u32 = 22;

/// A compiler's version, as far as it decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// A rustc on this machine, with the cargo beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rust {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) version: Version,
    pub(crate) llvm: u32,
    /// The library's source is installed (`rust-src`).
    pub(crate) has_source: bool,
}

/// A bpf-linker on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    pub(crate) llvm: u32,
}

/// A compiler that the distribution's packages offer, with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RustPackages {
    /// Compiler, cargo and source.
    pub(crate) names: [String; 3],
    pub(crate) version: Version,
    pub(crate) llvm: u32,
    /// apt would have to remove nothing, such as the user's own rustc or rustup package.
    pub(crate) coinstallable: bool,
}

/// What apt offers, on Debian and what derives from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Apt {
    /// No package lists yet, as in a fresh container image.
    pub(crate) lists_empty: bool,
    pub(crate) rusts: Vec<RustPackages>,
    /// NN of each `llvm-NN-dev`.
    pub(crate) llvms: Vec<u32>,
}

/// A way to get something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Where the package lists do not offer what fits: there are none, or they are old.
    AptUpdate,
    AptInstall,
    Rustup,
    LinkerFromSource,
}

/// What was found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) rusts: Vec<Rust>,
    pub(crate) linkers: Vec<Linker>,
    /// NN of each /usr/lib/llvm-NN that has what bpf-linker links with.
    pub(crate) llvms: Vec<u32>,
    pub(crate) apt: Option<Apt>,
    pub(crate) root: bool,
    pub(crate) rustup: bool,
    /// Ways gone before, whatever came of them: if one had helped, its facts would show it.
    pub(crate) tried: Vec<Way>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Use(Rust, Linker),
    AptUpdate,
    AptInstall(Vec<String>),
    /// A toolchain under its own name beside the user's.
    Rustup,
    /// `cargo install` against /usr/lib/llvm-NN.
    LinkerFromSource {
        llvm: u32,
    },
    /// Nothing is left to try; the reader is told what to do.
    Explain(String),
}

/// The next step, the cheapest way first: what is there, the distribution's packages, rustup, an
/// explanation.
///
/// The released programs of bpf-linker are no way: nothing that is published with them says what
/// their content is to be.
pub(crate) fn next(facts: &Facts) -> Step {
    if let Some((rust, linker)) = best_pair(facts) {
        return Step::Use(rust.clone(), linker.clone());
    }
    match best_rust(facts) {
        Some(rust) => linker_for(facts, rust.llvm),
        None => rust_and_linker(facts),
    }
}

/// Compilers that can build the kernel programs, the newest first.
fn usable(facts: &Facts) -> Vec<&Rust> {
    let mut rusts: Vec<_> = facts
        .rusts
        .iter()
        .filter(|rust| rust.has_source && rust.version >= OLDEST_RUST)
        .filter(|rust| LINKER_LLVMS.iter().any(|llvm| *llvm >= rust.llvm))
        .collect();
    rusts.sort_by_key(|rust| std::cmp::Reverse(rust.version));
    rusts
}

fn best_rust(facts: &Facts) -> Option<&Rust> {
    usable(facts).into_iter().next()
}

/// The newest compiler that has a linker, with the linker closest to its LLVM.
fn best_pair(facts: &Facts) -> Option<(&Rust, &Linker)> {
    usable(facts).into_iter().find_map(|rust| {
        let fitting = facts
            .linkers
            .iter()
            .filter(|linker| linker.llvm >= rust.llvm);
        fitting
            .min_by_key(|linker| linker.llvm)
            .map(|linker| (rust, linker))
    })
}

/// The LLVM among those offered that is closest to the compiler's, not older, and known to
/// bpf-linker.
fn closest_llvm(offered: &[u32], rust_llvm: u32) -> Option<u32> {
    offered
        .iter()
        .copied()
        .filter(|llvm| *llvm >= rust_llvm && LINKER_LLVMS.contains(llvm))
        .min()
}

/// A compiler is there, a linker is not.
fn linker_for(facts: &Facts, rust_llvm: u32) -> Step {
    let may = |way| !facts.tried.contains(&way);
    if may(Way::LinkerFromSource)
        && let Some(llvm) = closest_llvm(&facts.llvms, rust_llvm)
    {
        return Step::LinkerFromSource { llvm };
    }
    if let Some(apt) = facts.apt.as_ref().filter(|_| facts.root)
        && may(Way::LinkerFromSource)
    {
        let offered = closest_llvm(&apt.llvms, rust_llvm);
        if offered.is_none() && may(Way::AptUpdate) {
            return Step::AptUpdate;
        }
        if may(Way::AptInstall)
            && let Some(llvm) = offered
        {
            return Step::AptInstall(linker_packages(llvm));
        }
    }
    Step::Explain(explanation(facts))
}

/// Neither is there.
fn rust_and_linker(facts: &Facts) -> Step {
    let may = |way| !facts.tried.contains(&way);
    if let Some(apt) = facts.apt.as_ref().filter(|_| facts.root) {
        let offered = apt_packages(apt);
        if offered.is_none() && may(Way::AptUpdate) {
            return Step::AptUpdate;
        }
        if may(Way::AptInstall)
            && let Some(packages) = offered
        {
            return Step::AptInstall(packages);
        }
    }
    if facts.rustup && may(Way::Rustup) {
        return Step::Rustup;
    }
    Step::Explain(explanation(facts))
}

/// The newest compiler that apt can add without removing anything, and an LLVM for the linker.
fn apt_packages(apt: &Apt) -> Option<Vec<String>> {
    let offered = apt
        .rusts
        .iter()
        .filter(|rust| rust.coinstallable && rust.version >= OLDEST_RUST);
    let (rust, llvm) = offered
        .filter_map(|rust| Some((rust, closest_llvm(&apt.llvms, rust.llvm)?)))
        .max_by_key(|(rust, _)| rust.version)?;
    Some(
        rust.names
            .iter()
            .cloned()
            .chain(linker_packages(llvm))
            .collect(),
    )
}

/// What building bpf-linker takes: LLVM, and a C toolchain for cargo to link with.
fn linker_packages(llvm: u32) -> Vec<String> {
    vec![format!("llvm-{llvm}-dev"), "gcc".into(), "libc6-dev".into()]
}

/// The commands that would help, as exact as the facts allow.
fn explanation(facts: &Facts) -> String {
    let mut lines = vec![format!(
        "no eBPF toolchain: the kernel programs need a rustc {}.{} or newer with rust-src, and a \
         bpf-linker {BPF_LINKER} with the same LLVM or a newer one",
        OLDEST_RUST.major, OLDEST_RUST.minor
    )];
    let packages = facts.apt.as_ref().and_then(apt_packages);
    match &packages {
        Some(packages) if facts.root => {
            lines.push(format!(
                "`apt-get install {}` did not help: see above",
                packages.join(" ")
            ));
        }
        Some(packages) => lines.push(format!(
            "as root: apt-get update && apt-get install --no-install-recommends {}",
            packages.join(" ")
        )),
        None if facts.apt.as_ref().is_some_and(|apt| apt.lists_empty) => {
            lines.push("as root: apt-get update (the package lists are empty)".into());
        }
        None => {}
    }
    if packages.is_none() || facts.tried.contains(&Way::AptInstall) {
        if !facts.rustup {
            lines.push("get rustup: see https://rustup.rs".into());
        }
        if best_rust(facts).is_none() {
            lines.push(format!(
                "rustup toolchain install {RUSTUP_RELEASE} --profile minimal --component rust-src"
            ));
        }
        let llvm = best_rust(facts).map_or(RUSTUP_LLVM, |rust| rust.llvm);
        lines.push(format!(
            "install LLVM {llvm} with its headers, then: cargo install --locked bpf-linker \
             --version {BPF_LINKER} --no-default-features --features llvm-{llvm}"
        ));
    }
    lines.push(
        "then run this again; or set OOM_PROBE_EBPF_OBJECT to an object compiled elsewhere".into(),
    );
    lines.join("\n  ")
}
