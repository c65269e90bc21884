//! Machines as they are met, and what each is told to do next.

use super::*;

fn rust(path: &str, minor: u32, llvm: u32, has_source: bool) -> Rust {
    Rust {
        rustc: path.into(),
        cargo: path.replace("rustc", "cargo").into(),
        version: Version { major: 1, minor },
        llvm,
        has_source,
    }
}

fn linker(llvm: u32) -> Linker {
    Linker {
        path: format!("/cache/llvm{llvm}/bpf-linker").into(),
        llvm,
    }
}

fn packages(kind: &str, minor: u32, llvm: u32) -> RustPackages {
    RustPackages {
        names: [
            format!("rustc{kind}"),
            format!("cargo{kind}"),
            format!("rust{kind}-src"),
        ],
        version: Version { major: 1, minor },
        llvm,
        coinstallable: true,
    }
}

/// Debian 12 with its security updates.
fn bookworm() -> Apt {
    Apt {
        lists_empty: false,
        rusts: vec![packages("", 63, 14), packages("-web", 96, 22)],
        llvms: vec![13, 14, 15, 16, 19, 22],
    }
}

fn install(packages: &[&str]) -> Step {
    Step::AptInstall(packages.iter().map(|name| String::from(*name)).collect())
}

/// What rustup's own users have: no source.
fn stable() -> Rust {
    rust("/home/u/.rustup/toolchains/stable/bin/rustc", 95, 22, false)
}

fn web() -> Rust {
    rust("/usr/bin/rustc", 96, 22, true)
}

#[test]
fn each_machine_gets_the_cheapest_next_step() {
    let bare = Facts {
        rusts: vec![stable()],
        rustup: true,
        ..Facts::default()
    };
    let debian = Facts {
        apt: Some(bookworm()),
        root: true,
        ..bare.clone()
    };
    let with_rust = Facts {
        rusts: vec![stable(), web()],
        ..debian.clone()
    };
    let web_packages = [
        "rustc-web",
        "cargo-web",
        "rust-web-src",
        "llvm-22-dev",
        "gcc",
        "libc6-dev",
    ];
    let empty_lists = Apt {
        lists_empty: true,
        ..Apt::default()
    };

    let not_compiled = Facts {
        llvms: vec![22],
        tried: vec![Way::AptInstall, Way::LinkerFromSource],
        ..with_rust.clone()
    };
    let explained = |facts: &Facts| Step::Explain(explanation(facts));

    let cases = [
        ("Debian, root", debian.clone(), install(&web_packages)),
        (
            "Debian, root, without rustup",
            Facts {
                rustup: false,
                ..debian.clone()
            },
            install(&web_packages),
        ),
        (
            "a fresh container image",
            Facts {
                apt: Some(empty_lists.clone()),
                ..debian.clone()
            },
            Step::AptUpdate,
        ),
        (
            "lists from before a security update",
            Facts {
                apt: Some(Apt {
                    lists_empty: false,
                    rusts: vec![packages("-web", 85, 19)],
                    llvms: vec![14, 19],
                }),
                ..debian.clone()
            },
            Step::AptUpdate,
        ),
        (
            "a distribution without the packages",
            Facts {
                apt: Some(empty_lists),
                tried: vec![Way::AptUpdate],
                ..debian.clone()
            },
            Step::Rustup,
        ),
        (
            "Debian, user",
            Facts {
                root: false,
                ..debian.clone()
            },
            Step::Rustup,
        ),
        ("elsewhere", bare.clone(), Step::Rustup),
        (
            "apt failed",
            Facts {
                tried: vec![Way::AptInstall],
                ..debian.clone()
            },
            Step::Rustup,
        ),
        (
            "packages there, linker not built",
            Facts {
                llvms: vec![19, 22],
                ..with_rust.clone()
            },
            Step::LinkerFromSource { llvm: 22 },
        ),
        (
            "compiler there, LLVM not",
            with_rust.clone(),
            install(&["llvm-22-dev", "gcc", "libc6-dev"]),
        ),
        (
            "user with a compiler and LLVM's files",
            Facts {
                llvms: vec![22],
                root: false,
                ..with_rust.clone()
            },
            Step::LinkerFromSource { llvm: 22 },
        ),
        (
            "user with a compiler only",
            Facts {
                root: false,
                ..with_rust.clone()
            },
            explained(&Facts {
                root: false,
                ..with_rust.clone()
            }),
        ),
        (
            "the linker did not compile",
            not_compiled.clone(),
            explained(&not_compiled),
        ),
        (
            "all there",
            Facts {
                linkers: vec![linker(22)],
                ..with_rust.clone()
            },
            Step::Use(web(), linker(22)),
        ),
        (
            "a linker that is too old",
            Facts {
                linkers: vec![linker(21)],
                llvms: vec![22],
                ..with_rust
            },
            Step::LinkerFromSource { llvm: 22 },
        ),
    ];
    for (machine, facts, expected) in cases {
        assert_eq!(next(&facts), expected, "{machine}");
    }
}

#[test]
fn the_newest_compiler_with_a_linker_is_used_with_the_closest_llvm() {
    let older = rust("/r/1.90/rustc", 90, 20, true);
    let newest = rust("/r/1.99/rustc", 99, 23, true);
    let facts = Facts {
        rusts: vec![older.clone(), web(), newest.clone()],
        linkers: vec![linker(22), linker(21)],
        ..Facts::default()
    };
    assert_eq!(next(&facts), Step::Use(web(), linker(22)));

    let facts = Facts {
        rusts: vec![older.clone()],
        ..facts
    };
    assert_eq!(next(&facts), Step::Use(older, linker(21)));
}

#[test]
fn a_compiler_that_cannot_build_the_programs_counts_as_none() {
    for unusable in [
        rust("/too/old/rustc", 88, 20, true),
        rust("/no/source/rustc", 96, 22, false),
        rust("/llvm/too/new/rustc", 99, 24, true),
    ] {
        let facts = Facts {
            rusts: vec![unusable],
            linkers: vec![linker(24)],
            rustup: true,
            ..Facts::default()
        };
        assert_eq!(next(&facts), Step::Rustup);
    }
}

#[test]
fn apt_never_removes_the_users_own_compiler() {
    let mut apt = bookworm();
    for rust in &mut apt.rusts {
        rust.coinstallable = false;
    }
    let facts = Facts {
        apt: Some(apt),
        root: true,
        rustup: true,
        tried: vec![Way::AptUpdate],
        ..Facts::default()
    };
    assert_eq!(next(&facts), Step::Rustup);
}

#[test]
fn apt_picks_the_newest_compiler_and_an_llvm_that_can_follow_it() {
    let apt = Apt {
        lists_empty: false,
        rusts: vec![
            packages("-1.89", 89, 20),
            packages("-1.91", 91, 21),
            packages("", 85, 19),
        ],
        llvms: vec![19, 20, 22],
    };
    assert_eq!(
        apt_packages(&apt),
        Some(
            [
                "rustc-1.91",
                "cargo-1.91",
                "rust-1.91-src",
                "llvm-22-dev",
                "gcc",
                "libc6-dev"
            ]
            .map(String::from)
            .into()
        )
    );
    assert_eq!(
        apt_packages(&Apt {
            llvms: vec![20],
            ..apt
        }),
        None
    );
}

#[test]
fn where_nothing_is_left_to_try_the_exact_commands_are_given() {
    let user = Facts {
        apt: Some(bookworm()),
        ..Facts::default()
    };
    let everything = [
        Way::AptUpdate,
        Way::AptInstall,
        Way::Rustup,
        Way::LinkerFromSource,
    ];
    let exhausted = Facts {
        root: true,
        rustup: true,
        tried: everything.into(),
        ..user.clone()
    };
    let cases = [
        (
            user,
            vec!["apt-get install --no-install-recommends rustc-web cargo-web rust-web-src"],
        ),
        (
            Facts::default(),
            vec![
                "rustup.rs",
                "rustup toolchain install 1.96.0",
                "install LLVM 22 ",
                "cargo install --locked bpf-linker --version 0.13.0",
            ],
        ),
        (
            exhausted,
            vec![
                "did not help",
                "rustup toolchain install 1.96.0",
                "OOM_PROBE_EBPF_OBJECT",
            ],
        ),
    ];
    for (facts, expected) in cases {
        let Step::Explain(text) = next(&facts) else {
            panic!("{facts:?}")
        };
        for part in expected {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

/// Steps change the facts they aim at or are remembered as tried: no machine makes a loop.
#[test]
fn every_machine_comes_to_an_end() {
    for bits in 0..16u8 {
        let mut facts = Facts {
            rusts: vec![stable()],
            apt: (bits & 1 != 0).then(bookworm),
            root: bits & 2 != 0,
            rustup: bits & 4 != 0,
            llvms: if bits & 8 != 0 { vec![22] } else { vec![] },
            ..Facts::default()
        };
        let mut steps = 0;
        loop {
            let way = match next(&facts) {
                Step::Use(..) | Step::Explain(_) => break,
                Step::AptUpdate => Way::AptUpdate,
                Step::AptInstall(_) => Way::AptInstall,
                Step::Rustup => Way::Rustup,
                Step::LinkerFromSource { .. } => Way::LinkerFromSource,
            };
            assert!(!facts.tried.contains(&way), "{way:?} twice: {facts:?}");
            facts.tried.push(way);
            steps += 1;
        }
        assert!(steps <= 4);
    }
}
