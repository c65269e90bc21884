//! Gathers the plan's facts about this machine. Only questions; each parser is pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::plan::{Apt, Facts, Linker, Rust, RustPackages, Version};
use crate::cmd;

/// Everything the plan asks for, but for what was tried before.
pub(super) fn facts(cache: &Path) -> Facts {
    Facts {
        rusts: rusts(),
        linkers: linkers(cache),
        llvms: llvms(),
        apt: apt(),
        root: cmd::is_root(),
        rustup: cmd::which("rustup").is_some(),
        tried: Vec::new(),
    }
}

/// What `rustc -vV` says, if it runs.
pub(super) fn version_text(rustc: &Path) -> Option<String> {
    cmd::answer(rustc, &["-vV"])
}

/// The entries of a directory whose name the filter takes, in order; none if it cannot be read.
fn entries(directory: impl AsRef<Path>, takes: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let wanted = entries.filter(|entry| entry.file_name().to_str().is_some_and(&takes));
    wanted
        .map(|entry| entry.path())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Compilers by path: the distribution's, versioned ones of Debian and Ubuntu, and every
/// toolchain of rustup. rustup's proxies are left out: what they run depends on where.
fn rusts() -> Vec<Rust> {
    let mut paths = entries("/usr/bin", |name| {
        name == "rustc" || name.starts_with("rustc-1.")
    });
    paths.push("/usr/local/bin/rustc".into());
    for toolchain in rustup_home()
        .map(|home| entries(home.join("toolchains"), |_| true))
        .unwrap_or_default()
    {
        paths.push(toolchain.join("bin/rustc"));
    }
    let mut seen = BTreeSet::new();
    paths
        .into_iter()
        .filter(|path| {
            path.canonicalize().is_ok_and(|real| {
                real.file_name() != Some(OsStr::new("rustup")) && seen.insert(real)
            })
        })
        .filter_map(rust)
        .collect()
}

fn rustup_home() -> Option<PathBuf> {
    env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")))
}

fn rust(rustc: PathBuf) -> Option<Rust> {
    let cargo = rustc.with_file_name(rustc.file_name()?.to_str()?.replacen("rustc", "cargo", 1));
    let (version, llvm) = parse_version(&version_text(&rustc)?)?;
    let sysroot = cmd::answer(&rustc, &["--print", "sysroot"])?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    cargo.exists().then(|| Rust {
        rustc,
        cargo,
        version,
        llvm,
        has_source: core.exists(),
    })
}

/// The compiler's version and its LLVM's, from `rustc -vV`.
fn parse_version(text: &str) -> Option<(Version, u32)> {
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
    let llvm = leading_number(field("LLVM version: ")?)?;
    Some((parse_release(field("release: ")?)?, llvm))
}

/// `1.96.0`, `1.97.0-nightly`, `1.96.0+dfsg1-1~deb12u2`.
fn parse_release(text: &str) -> Option<Version> {
    let (major, rest) = text.split_once('.')?;
    Some(Version {
        major: major.parse().ok()?,
        minor: leading_number(rest)?,
    })
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Linkers in the cache and on the PATH whose LLVM can be told.
fn linkers(cache: &Path) -> Vec<Linker> {
    let cached = entries(cache, |name| name.starts_with("bpf-linker-"));
    cached
        .into_iter()
        .map(|root| root.join("bin/bpf-linker"))
        .chain(cmd::which("bpf-linker"))
        .filter(|path| cmd::answer(path, &["--version"]).is_some())
        .filter_map(|path| {
            let shared = cmd::answer("ldd", &[path.to_str()?]).and_then(|text| shared_llvm(&text));
            let llvm = shared.or_else(|| static_llvm(&fs::read(&path).ok()?))?;
            Some(Linker { path, llvm })
        })
        .collect()
}

/// The LLVM a program is linked to: `libLLVM.so.22.1` or `libLLVM-22.so` in what ldd lists.
fn shared_llvm(ldd: &str) -> Option<u32> {
    let library = ldd
        .lines()
        .map(str::trim)
        .find_map(|line| line.strip_prefix("libLLVM"))?;
    leading_number(library.trim_start_matches(|c: char| !c.is_ascii_digit()))
}

/// The LLVM inside a program: its bitcode writer signs with `LLVM22.1.8`.
fn static_llvm(program: &[u8]) -> Option<u32> {
    let mark = b"LLVM";
    let mut rest = program;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        rest = &rest[at + mark.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if (2..=3).contains(&digits)
            && rest.get(digits) == Some(&b'.')
            && rest.get(digits + 1).is_some_and(u8::is_ascii_digit)
        {
            return std::str::from_utf8(&rest[..digits]).ok()?.parse().ok();
        }
    }
    None
}

fn llvms() -> Vec<u32> {
    entries("/usr/lib", |name| name.starts_with("llvm-"))
        .into_iter()
        .filter(|prefix| {
            prefix.join("lib/libLLVM.so").exists() && prefix.join("include/llvm-c").exists()
        })
        .filter_map(|prefix| {
            prefix
                .file_name()?
                .to_str()?
                .strip_prefix("llvm-")?
                .parse()
                .ok()
        })
        .collect()
}

fn apt() -> Option<Apt> {
    cmd::which("apt-get")?;
    let search = |pattern| cmd::answer("apt-cache", &["search", "--names-only", pattern]);
    let sources = search("^rust(-.+)?-src$")?;
    let libraries = search("^llvm-[0-9]+-dev$")?;
    let llvms: Vec<_> = libraries.lines().filter_map(llvm_of_package).collect();
    let rusts: Vec<_> = sources
        .lines()
        .filter_map(compiler_packages)
        .filter_map(rust_packages)
        .collect();
    Some(Apt {
        lists_empty: rusts.is_empty() && llvms.is_empty(),
        rusts,
        llvms,
    })
}

/// `llvm-22-dev - Modular …`.
fn llvm_of_package(line: &str) -> Option<u32> {
    line.split(' ')
        .next()?
        .strip_prefix("llvm-")?
        .strip_suffix("-dev")?
        .parse()
        .ok()
}

/// Compiler, cargo and source by the source's name: `rust-src`, `rust-web-src` (Debian's for
/// browsers), `rust-1.91-src` (Ubuntu).
fn compiler_packages(line: &str) -> Option<[String; 3]> {
    let source = line.split(' ').next()?;
    let kind = source.strip_prefix("rust")?.strip_suffix("-src")?;
    Some([
        format!("rustc{kind}"),
        format!("cargo{kind}"),
        source.into(),
    ])
}

fn rust_packages(names: [String; 3]) -> Option<RustPackages> {
    let [rustc, cargo, source] = names.each_ref().map(String::as_str);
    let shown = cmd::answer("apt-cache", &["show", "--no-all-versions", rustc])?;
    let version = shown
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))?;
    let version = parse_release(version)?;
    let depends = [
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
    ];
    let more = ["--no-breaks", "--no-replaces", "--no-enhances", rustc];
    let llvm = depended_llvm(&cmd::answer("apt-cache", &[&depends[..], &more].concat())?)?;
    let simulated = [
        "install",
        "--simulate",
        "--no-remove",
        "--no-install-recommends",
    ];
    let coinstallable = cmd::answer(
        "apt-get",
        &[&simulated[..], &[rustc, cargo, source]].concat(),
    );
    Some(RustPackages {
        version,
        llvm,
        coinstallable: coinstallable.is_some(),
        names,
    })
}

/// The LLVM library among what a compiler's package depends on: `libllvm22`, `libllvm19t64`.
fn depended_llvm(depends: &str) -> Option<u32> {
    depends
        .lines()
        .find_map(|line| leading_number(line.trim().strip_prefix("libllvm")?))
}
