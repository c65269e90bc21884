//! What the programs asked say, as recorded on Debian 12 and Ubuntu.

use super::*;

#[test]
fn a_compiler_tells_its_version_and_its_llvm() {
    let text = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                binary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\n\
                LLVM version: 22.1.8\n";
    assert_eq!(
        parse_version(text),
        Some((
            Version {
                major: 1,
                minor: 96
            },
            22
        ))
    );
    let cranelift = text.replace("LLVM version: 22.1.8\n", "");
    assert_eq!(parse_version(&cranelift), None);
}

#[test]
fn releases_of_every_channel_and_package_are_read() {
    let cases = [
        ("1.96.0", Some((1, 96))),
        ("1.97.0-nightly", Some((1, 97))),
        ("1.96.0+dfsg1-1~deb12u2", Some((1, 96))),
        ("2.0.0-beta.1", Some((2, 0))),
        ("", None),
        ("stable", None),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|(major, minor)| Version { major, minor });
        assert_eq!(parse_release(text), expected, "{text}");
    }
}

#[test]
fn a_linker_tells_its_llvm_by_its_library_or_by_its_signature() {
    let debian = "\tlinux-vdso.so.1 (0x00007f0bc8785000)\n\
                  \tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x00007f0bbf400000)\n";
    let older = "\tlibLLVM-19.so.1 => /usr/lib/x86_64-linux-gnu/libLLVM-19.so.1 (0x0)\n";
    assert_eq!(shared_llvm(debian), Some(22));
    assert_eq!(shared_llvm(older), Some(19));
    assert_eq!(shared_llvm("\tstatically linked\n"), None);

    assert_eq!(
        static_llvm(b"..LLVM version\0LLVM 2\0LLVM23.1.0-rust\0"),
        Some(23)
    );
    assert_eq!(static_llvm(b"LLVMContext LLVM2x LLVM22"), None);
}

#[test]
fn packages_are_known_by_the_name_of_the_source() {
    let names = |line| compiler_packages(line).map(|names| names.join(" "));
    let cases = [
        (
            "rust-src - Rust systems programming",
            Some("rustc cargo rust-src"),
        ),
        (
            "rust-web-src - Rust systems",
            Some("rustc-web cargo-web rust-web-src"),
        ),
        (
            "rust-1.91-src - Rust",
            Some("rustc-1.91 cargo-1.91 rust-1.91-src"),
        ),
        ("librust-src", None),
    ];
    for (line, expected) in cases {
        assert_eq!(names(line).as_deref(), expected, "{line}");
    }
    assert_eq!(llvm_of_package("llvm-22-dev - Modular compiler"), Some(22));
    assert_eq!(llvm_of_package("llvm-dev - Modular compiler"), None);
}

#[test]
fn a_compilers_llvm_is_among_its_dependencies() {
    let depends = "libstd-rust-web-1.96\n  Depends: libgcc-s1\n  Depends: libllvm22\nlibllvm22\n";
    assert_eq!(depended_llvm(depends), Some(22));
    assert_eq!(depended_llvm("libllvm19t64\n"), Some(19));
    assert_eq!(depended_llvm("libc6\n"), None);
}
