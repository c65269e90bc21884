//! The files of a memory cgroup that tell what became of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::hierarchy::Hierarchy;
use crate::sys::escape::Escaped;

/// What the kernel has counted in one cgroup, without the cgroups below it. Absent where this
/// version of the hierarchy, or this kernel, does not count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Processes of this cgroup killed by the OOM killer; v1 since 4.13. The first victim of a
    /// group kill counts twice (`mm/oom_kill.c`, `__oom_kill_process`).
    pub oom_kill: Option<u64>,
    /// Group kills of this cgroup; v2 since 5.17.
    pub oom_group_kill: Option<u64>,
}

/// Why a file of a cgroup could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The cgroup was removed.
    #[error("the cgroup {} is gone", Escaped::path(.0))]
    Gone(PathBuf),
    /// The cgroup is there, the file is not: no memory controller in this cgroup, or a kernel
    /// that does not have the file.
    #[error("{} does not exist: no memory controller there, or an older kernel", Escaped::path(.0))]
    Absent(PathBuf),
    /// Any other failure.
    #[error("cannot read {}: {source}", Escaped::path(path))]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is not what the kernel's documentation says.
    #[error("{} has no valid {key}", Escaped::path(path))]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// The line of it.
        key: &'static str,
    },
    /// More cgroups below it than are looked through.
    #[error("more than {most} cgroups below {}", Escaped::path(below))]
    TooMany {
        /// Below which.
        below: PathBuf,
        /// How many are looked through.
        most: usize,
    },
}

/// Counts of one cgroup: `memory.events.local`, on v1 `memory.oom_control`.
///
/// # Errors
/// Any [`FileError`] but `TooMany`.
pub fn events(hierarchy: Hierarchy, cgroup: &Path) -> Result<Events, FileError> {
    let file = match hierarchy {
        Hierarchy::V2 => "memory.events.local",
        Hierarchy::V1 | Hierarchy::Hybrid => "memory.oom_control",
    };
    let text = read(cgroup, file)?;
    Events::parse(&text).map_err(|InvalidKey(key)| FileError::Malformed {
        path: cgroup.join(file),
        key,
    })
}

/// Whether the OOM killer takes this whole cgroup at once: `memory.oom.group`. Never on v1.
///
/// # Errors
/// Any [`FileError`] but `TooMany`; the root cgroup has no such file.
pub fn oom_group(hierarchy: Hierarchy, cgroup: &Path) -> Result<bool, FileError> {
    if hierarchy.memory_version() == 1 {
        return Ok(false);
    }
    let file = "memory.oom.group";
    parse_flag(read(cgroup, file)?.trim_end()).ok_or_else(|| FileError::Malformed {
        path: cgroup.join(file),
        key: "value",
    })
}

pub(super) fn read(cgroup: &Path, file: &str) -> Result<String, FileError> {
    let path = cgroup.join(file);
    fs::read_to_string(&path).map_err(|source| failed(cgroup, path, source))
}

pub(super) fn failed(cgroup: &Path, path: PathBuf, source: io::Error) -> FileError {
    if !is_gone(&source) {
        FileError::Io { path, source }
    } else if cgroup.is_dir() {
        FileError::Absent(path)
    } else {
        FileError::Gone(cgroup.to_owned())
    }
}

/// A file that was opened before its cgroup was removed fails with ENODEV
/// (`fs/kernfs/file.c`, `kernfs_fop_read_iter`).
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// A line of a flat-keyed file whose value is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InvalidKey(&'static str);

impl Events {
    fn parse(text: &str) -> Result<Self, InvalidKey> {
        let count = |key: &'static str| {
            value(text, key)
                .map(|text| text.parse().map_err(|_| InvalidKey(key)))
                .transpose()
        };
        Ok(Self {
            oom_kill: count("oom_kill")?,
            oom_group_kill: count("oom_group_kill")?,
        })
    }
}

/// The value of a key in a flat-keyed file (`Documentation/admin-guide/cgroup-v2.rst`).
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

pub(super) fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(oom_kill: Option<u64>, oom_group_kill: Option<u64>) -> Events {
        Events {
            oom_kill,
            oom_group_kill,
        }
    }

    #[test]
    fn each_kernels_counts_are_read() {
        for (kernel, text, events) in [
            (
                "v2, 6.12",
                "low 0\nhigh 0\nmax 31\noom 2\noom_kill 4\noom_group_kill 1\n",
                counts(Some(4), Some(1)),
            ),
            (
                "v2, 5.10",
                "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\n",
                counts(Some(1), None),
            ),
            (
                "v1, 6.18",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
                counts(Some(3), None),
            ),
            (
                "v1, 4.12",
                "oom_kill_disable 0\nunder_oom 0\n",
                counts(None, None),
            ),
        ] {
            assert_eq!(Events::parse(text), Ok(events), "{kernel}");
        }
        assert_eq!(
            Events::parse("oom 1\noom_kill many\n"),
            Err(InvalidKey("oom_kill"))
        );
        assert_eq!(Events::parse("oom_kill -1\n"), Err(InvalidKey("oom_kill")));
    }

    /// A directory with the files of a cgroup.
    fn cgroup(files: &[(&str, &str)]) -> tempfile::TempDir {
        let cgroup = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = cgroup.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        cgroup
    }

    #[test]
    fn a_removed_cgroup_differs_from_one_without_the_file() {
        let cgroup = cgroup(&[]);
        let removed = cgroup.path().join("removed");
        for &hierarchy in Hierarchy::ALL {
            assert!(matches!(
                events(hierarchy, &removed),
                Err(FileError::Gone(_))
            ));
            assert!(matches!(
                events(hierarchy, cgroup.path()),
                Err(FileError::Absent(_))
            ));
        }
    }

    #[test]
    fn a_group_kill_is_asked_for_on_v2_only() {
        let with = |content| cgroup(&[("memory.oom.group", content)]);
        assert!(oom_group(Hierarchy::V2, with("1\n").path()).unwrap());
        assert!(!oom_group(Hierarchy::V2, with("0\n").path()).unwrap());
        assert!(!oom_group(Hierarchy::Hybrid, with("1\n").path()).unwrap());
        assert!(matches!(
            oom_group(Hierarchy::V2, with("max\n").path()),
            Err(FileError::Malformed { .. })
        ));
    }
}
