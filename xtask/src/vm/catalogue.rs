//! The kernels of the matrix, as data: where each comes from, how it is booted, and what it must
//! turn out to be once it runs.

use crate::debian::Suite;

/// The suites of the kernels and of QEMU.
pub(super) const SUITES: [Suite; 5] = [
    Suite::Bullseye,
    Suite::Bookworm,
    Suite::BookwormSecurity,
    Suite::Trixie,
    Suite::TrixieBackports,
];

/// Package names that differ only in a version between a fixed beginning and a fixed end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamePattern {
    pub(crate) prefix: &'static str,
    pub(crate) suffix: &'static str,
}

impl NamePattern {
    /// The name with the highest version among `names`, if any matches.
    pub(crate) fn newest<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        names
            .filter_map(|name| Some((self.version(name)?, name)))
            .max_by(|(a, _), (b, _)| a.cmp(b))
            .map(|(_, name)| name)
    }

    fn version(&self, name: &str) -> Option<Vec<u32>> {
        let middle = name.strip_prefix(self.prefix)?.strip_suffix(self.suffix)?;
        middle.split('.').map(|part| part.parse().ok()).collect()
    }
}

/// One kernel image; several machines may boot the same.
#[derive(Debug)]
pub(crate) struct Image {
    /// Directory name in the cache.
    pub(crate) id: &'static str,
    pub(crate) suite: Suite,
    /// Patterns in order of preference: the first with a package in the archive wins.
    pub(crate) packages: &'static [NamePattern],
}

/// One machine of the matrix: a kernel image and a way to boot it.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The name used on the command line, in the table, and in the guest as `OOM_PROBE_VM`.
    pub(crate) name: &'static str,
    pub(crate) image: &'static Image,
    /// Added to the kernel's command line.
    pub(crate) cmdline: &'static str,
    /// How `uname -r` must begin and what it must contain.
    pub(crate) release: (&'static str, &'static str),
    /// Facts that PID 1 must report, so that no machine silently tests something else.
    pub(crate) facts: &'static [(&'static str, &'static str)],
}

const DEBIAN_11: Image = Image {
    id: "5.10-cloud",
    suite: Suite::Bullseye,
    packages: &[NamePattern {
        prefix: "linux-image-5.10.0-",
        suffix: "-cloud-amd64",
    }],
};
const DEBIAN_12: Image = Image {
    id: "6.1-cloud",
    suite: Suite::BookwormSecurity,
    packages: &[NamePattern {
        prefix: "linux-image-6.1.0-",
        suffix: "-cloud-amd64",
    }],
};
const DEBIAN_12_RT: Image = Image {
    id: "6.1-rt",
    suite: Suite::BookwormSecurity,
    packages: &[NamePattern {
        prefix: "linux-image-6.1.0-",
        suffix: "-rt-amd64",
    }],
};
const DEBIAN_12_NEWER: Image = Image {
    id: "6.12-cloud",
    suite: Suite::BookwormSecurity,
    packages: &[NamePattern {
        prefix: "linux-image-6.12.",
        suffix: "+deb12-cloud-amd64",
    }],
};
/// Backports keep only what is current: once 7.2 has left, the newest 7.x stands in for it.
const DEBIAN_13_NEWEST: Image = Image {
    id: "7.2-cloud",
    suite: Suite::TrixieBackports,
    packages: &[
        NamePattern {
            prefix: "linux-binary-7.2.",
            suffix: "+deb13-cloud-amd64",
        },
        NamePattern {
            prefix: "linux-binary-7.",
            suffix: "+deb13-cloud-amd64",
        },
    ],
};

/// The whole matrix. `mark_victim` is `<fields>@<offset of the first>` of the tracepoint's format
/// file: one field in the pid-only form, nine in the form with the task, at 12 rather than 8 where
/// the common part is longer, `hidden` where lockdown empties tracefs.
pub(crate) const MACHINES: [Machine; 7] = [
    Machine {
        name: "5.10",
        image: &DEBIAN_11,
        cmdline: "",
        release: ("5.10.", "-cloud-"),
        facts: &[
            ("mark_victim", "1@8"),
            ("lockdown", "none"),
            ("cgroup", "v2"),
        ],
    },
    Machine {
        name: "6.1",
        image: &DEBIAN_12,
        cmdline: "",
        release: ("6.1.", "-cloud-"),
        facts: &[
            ("mark_victim", "9@8"),
            ("lockdown", "none"),
            ("cgroup", "v2"),
        ],
    },
    Machine {
        name: "6.1-rt",
        image: &DEBIAN_12_RT,
        cmdline: "",
        release: ("6.1.", "-rt-"),
        facts: &[
            ("mark_victim", "9@12"),
            ("lockdown", "none"),
            ("cgroup", "v2"),
        ],
    },
    Machine {
        name: "6.12",
        image: &DEBIAN_12_NEWER,
        cmdline: "",
        release: ("6.12.", "-cloud-"),
        facts: &[
            ("mark_victim", "9@8"),
            ("lockdown", "none"),
            ("cgroup", "v2"),
        ],
    },
    Machine {
        name: "7.2",
        image: &DEBIAN_13_NEWEST,
        cmdline: "",
        release: ("7.", "-cloud-"),
        facts: &[
            ("mark_victim", "9@8"),
            ("lockdown", "none"),
            ("cgroup", "v2"),
        ],
    },
    Machine {
        name: "6.12-lockdown",
        image: &DEBIAN_12_NEWER,
        cmdline: "lockdown=confidentiality",
        release: ("6.12.", "-cloud-"),
        facts: &[
            ("mark_victim", "hidden"),
            ("lockdown", "confidentiality"),
            ("cgroup", "v2"),
        ],
    },
    Machine {
        name: "6.1-v1",
        image: &DEBIAN_12,
        cmdline: "oomprobe.cgroup=v1",
        release: ("6.1.", "-cloud-"),
        facts: &[
            ("mark_victim", "9@8"),
            ("lockdown", "none"),
            ("cgroup", "v1"),
        ],
    },
];

/// What PID 1 must report on every machine.
const EVERYWHERE: (&str, &str) = ("processors", "2");

/// Machines that take longest: the first also runs most of what no kernel does differently, and a real-time
/// kernel, whose interrupt handlers are threads, switches tasks most.
pub(super) const LONGEST: [&str; 2] = ["6.1", "6.1-rt"];

impl Machine {
    /// What differs between this machine as it should be and what PID 1 reported, one line each.
    pub(crate) fn differences(&self, release: &str, facts: &[(String, String)]) -> Vec<String> {
        let (prefix, part) = self.release;
        let mut found = Vec::new();
        if !release.starts_with(prefix) || !release.contains(part) {
            found.push(format!(
                "kernel release is {release:?}, expected {prefix}…{part}…"
            ));
        }
        for (key, expected) in self.facts.iter().chain([&EVERYWHERE]) {
            let value = facts
                .iter()
                .find(|(k, _)| k == key)
                .map_or("not told", |(_, v)| v);
            if value != *expected {
                found.push(format!("{key} is {value}, expected {expected}"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_wins_by_number_and_unsigned_ones_do_not_match() {
        let names = [
            "linux-binary-7.2.9+deb13-cloud-amd64",
            "linux-binary-7.2.12+deb13-cloud-amd64",
            "linux-binary-7.2.12+deb13-rt-amd64",
            "linux-binary-7.1.13+deb13-cloud-amd64",
            "linux-binary-unsigned-7.3.4+deb13-cloud-amd64",
        ];
        let newest = |p: &NamePattern| p.newest(names.into_iter());
        let [preferred, fallback] = DEBIAN_13_NEWEST.packages else {
            panic!("two patterns")
        };
        assert_eq!(
            newest(preferred),
            Some("linux-binary-7.2.12+deb13-cloud-amd64")
        );
        assert_eq!(
            newest(fallback),
            Some("linux-binary-7.2.12+deb13-cloud-amd64")
        );
        assert_eq!(newest(&DEBIAN_11.packages[0]), None);
    }

    #[test]
    fn abi_numbers_compare_as_numbers() {
        let names = [
            "linux-image-6.1.0-9-rt-amd64",
            "linux-image-6.1.0-56-rt-amd64",
        ];
        assert_eq!(
            DEBIAN_12_RT.packages[0].newest(names.into_iter()),
            Some("linux-image-6.1.0-56-rt-amd64")
        );
    }

    #[test]
    fn machine_names_are_unique() {
        for (i, machine) in MACHINES.iter().enumerate() {
            assert!(MACHINES[..i].iter().all(|other| other.name != machine.name));
        }
        for long in LONGEST {
            assert!(
                MACHINES.iter().any(|machine| machine.name == long),
                "{long}"
            );
        }
    }

    #[test]
    fn a_machine_that_is_not_what_it_should_be_is_told() {
        let facts = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect::<Vec<_>>()
        };
        let lockdown = MACHINES.iter().find(|m| m.name == "6.12-lockdown").unwrap();
        let right = facts(&[
            ("mark_victim", "hidden"),
            ("lockdown", "confidentiality"),
            ("cgroup", "v2"),
            ("processors", "2"),
        ]);
        let release = "6.12.117+deb12-cloud-amd64";
        assert_eq!(lockdown.differences(release, &right), Vec::<String>::new());
        assert_eq!(
            lockdown.differences("6.1.0-56-cloud-amd64", &facts(&[("lockdown", "none")])),
            [
                "kernel release is \"6.1.0-56-cloud-amd64\", expected 6.12.…-cloud-…",
                "mark_victim is not told, expected hidden",
                "lockdown is none, expected confidentiality",
                "cgroup is not told, expected v2",
                "processors is not told, expected 2",
            ]
        );
    }
}
