//! One memory cgroup: made, limited, filled, read.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command};

use super::removal::remove_all;
use super::{Error, Hierarchy, Version, control};

/// v1 writes "no limit" as the highest multiple of the page size that a counter holds
/// (kernel mm/page_counter.c, `PAGE_COUNTER_MAX`); with pages up to 64 KiB it is above this.
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_0000;

/// A memory cgroup, removed on drop together with every parent that was made for it.
///
/// What already existed stays. Give parents names of your own: one that another `Cgroup` still uses
/// when its maker is dropped stays behind.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    directory: PathBuf,
    path: PathBuf,
    /// Outermost first.
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the cgroup at `relative` to the hierarchy's root, with its parents; on v2 it also
    /// enables the memory controller in each of them.
    ///
    /// # Errors
    /// The path is empty or leaves the hierarchy, or the kernel refuses.
    pub fn create(hierarchy: &Hierarchy, relative: impl AsRef<Path>) -> Result<Self, Error> {
        let names = names_below_root(relative.as_ref())?;
        let mut cgroup = Self {
            version: hierarchy.version,
            directory: hierarchy.root.clone(),
            path: hierarchy.mounted.clone(),
            made: Vec::new(),
        };
        for name in names {
            if cgroup.version == Version::V2 {
                enable_memory_below(&cgroup.directory)?;
            }
            cgroup.directory.push(name);
            cgroup.path.push(name);
            match fs::create_dir(&cgroup.directory) {
                Ok(()) => cgroup.made.push(cgroup.directory.clone()),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", &cgroup.directory, error)),
            }
        }
        Ok(cgroup)
    }

    /// The calling process' own memory cgroup, as far as the hierarchy's mount shows it. It exists
    /// already, so it stays.
    ///
    /// # Errors
    /// As [`Hierarchy::own_directory`].
    pub fn of_self(hierarchy: &Hierarchy) -> Result<Self, Error> {
        let directory = hierarchy.own_directory()?;
        let below = directory.strip_prefix(&hierarchy.root);
        Ok(Self {
            version: hierarchy.version,
            path: hierarchy.mounted.join(below.unwrap_or(Path::new(""))),
            directory,
            made: Vec::new(),
        })
    }

    /// The cgroup's directory in the file system.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The cgroup's path as /proc/PID/cgroup shows it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id that the kernel knows it by: the inode number of its directory
    /// (kernel fs/kernfs/mount.c; `kernfs_node.id`).
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn id(&self) -> Result<u64, Error> {
        fs::metadata(&self.directory)
            .map(|metadata| metadata.ino())
            .map_err(|source| Error::io("read", &self.directory, source))
    }

    /// Limits memory to `bytes`, without swap where the kernel accounts that.
    ///
    /// # Errors
    /// The kernel refuses, for instance a limit below usage on v1.
    pub fn set_limit(&self, bytes: u64) -> Result<(), Error> {
        match self.version {
            Version::V2 => {
                self.write_if_present("memory.swap.max", 0)?;
                self.write("memory.max", bytes)
            }
            Version::V1 => {
                // memory <= memory+swap must hold at each step, so raising starts with the latter.
                let raise_first = self.limit()?.is_some_and(|limit| bytes > limit);
                if raise_first {
                    self.write_if_present("memory.memsw.limit_in_bytes", bytes)?;
                }
                self.write("memory.limit_in_bytes", bytes)?;
                self.write_if_present("memory.memsw.limit_in_bytes", bytes)
            }
        }
    }

    /// Sets whether an OOM kill takes every process of the cgroup.
    ///
    /// # Errors
    /// [`Error::NoOomGroup`] on v1, or the kernel refuses.
    pub fn set_oom_group(&self, whole: bool) -> Result<(), Error> {
        match self.version {
            Version::V1 => Err(Error::NoOomGroup),
            Version::V2 => self.write("memory.oom.group", u64::from(whole)),
        }
    }

    /// Whether an OOM kill takes every process of the cgroup; `None` where there is no such file: on
    /// v1, and at the root of v2.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn oom_group(&self) -> Result<Option<bool>, Error> {
        let path = self.directory.join("memory.oom.group");
        if !path.exists() {
            return Ok(None);
        }
        let value = read_number(&path, |text| text.trim().parse().ok())?;
        Ok(Some(value != 0))
    }

    /// The file that takes the pid of a process to move it into the cgroup.
    #[must_use]
    pub fn procs_path(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    /// Moves a process into the cgroup; memory that it already holds stays charged where it was.
    ///
    /// # Errors
    /// There is no such process, or the kernel refuses.
    pub fn add(&self, pid: u32) -> Result<(), Error> {
        self.write("cgroup.procs", u64::from(pid))
    }

    /// Starts a command inside the cgroup: it is there before its first instruction.
    ///
    /// # Errors
    /// The program cannot be started or the kernel refuses to move it.
    pub fn spawn(&self, mut command: Command) -> Result<Child, Error> {
        let path = self.procs_path();
        let procs = control::open(&path)?;
        // SAFETY: between fork and exec only write(2) runs, on a file that was opened before and
        // that the closure owns; it neither allocates nor takes a lock.
        unsafe { command.pre_exec(move || (&procs).write_all(b"0")) };
        command.spawn().map_err(|source| Error::Spawn {
            program: command.get_program().to_string_lossy().into_owned(),
            path: self.directory.clone(),
            source,
        })
    }

    /// Bytes that are charged to the cgroup and its descendants.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn usage(&self) -> Result<u64, Error> {
        let file = match self.version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        };
        read_number(&self.directory.join(file), |text| text.trim().parse().ok())
    }

    /// The cgroup's own limit in bytes, if it has one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn limit(&self) -> Result<Option<u64>, Error> {
        limit_in(self.version, &self.directory)
    }

    /// How many kills the kernel has counted for this cgroup without its descendants
    /// (`memory.events.local`, or `memory.oom_control` on v1). The first victim of a group kill
    /// is counted twice there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn oom_kill_count(&self) -> Result<u64, Error> {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events.local",
        };
        read_number(&self.directory.join(file), |text| field(text, "oom_kill"))
    }

    /// The processes in the cgroup, as its `cgroup.procs` lists them: of other PID namespaces as 0 on v2,
    /// and not at all on v1.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        super::removal::processes_in(&self.directory)
    }

    /// Kills what still runs in it (SIGKILL, by pid) and removes it and the parents made for it.
    /// A cgroup that is already empty goes at once. Zombies do not hinder; reaping stays with the
    /// parent.
    ///
    /// # Errors
    /// A process would not die within a minute, or the kernel refuses.
    pub fn remove(mut self) -> Result<(), Error> {
        remove_all(self.version, &std::mem::take(&mut self.made))
    }

    fn write(&self, file: &str, value: u64) -> Result<(), Error> {
        control::write(&self.directory.join(file), &value.to_string())
    }

    fn write_if_present(&self, file: &str, value: u64) -> Result<(), Error> {
        if self.directory.join(file).exists() {
            self.write(file, value)
        } else {
            Ok(())
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = remove_all(self.version, &self.made) {
            eprintln!("hog: {error}");
        }
    }
}

fn names_below_root(relative: &Path) -> Result<Vec<&std::ffi::OsStr>, Error> {
    let bad = || Error::BadPath(relative.display().to_string());
    let names = relative
        .components()
        .filter(|component| !matches!(component, Component::RootDir | Component::CurDir))
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(bad()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        Err(bad())
    } else {
        Ok(names)
    }
}

fn enable_memory_below(directory: &Path) -> Result<(), Error> {
    let path = directory.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&path).map_err(|source| Error::io("read", &path, source))?;
    if enabled.split_whitespace().any(|name| name == "memory") {
        return Ok(());
    }
    control::write(&path, "+memory")
}

/// The limit that is set on one cgroup; v2's root has no such file, hence no limit.
pub(super) fn limit_in(version: Version, directory: &Path) -> Result<Option<u64>, Error> {
    let file = match version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    };
    let path = directory.join(file);
    if version == Version::V2 && !path.exists() {
        return Ok(None);
    }
    let bytes = read_number(&path, parse_limit)?;
    Ok((bytes < V1_UNLIMITED).then_some(bytes))
}

fn parse_limit(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
}

pub(super) fn read_number(
    path: &Path,
    parse: impl FnOnce(&str) -> Option<u64>,
) -> Result<u64, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
    parse(&text).ok_or_else(|| Error::NotANumber {
        path: path.to_owned(),
        text: text.lines().next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_root() {
        for (path, names) in [
            ("leaf", &["leaf"][..]),
            ("/a/b", &["a", "b"]),
            ("./a/./b/", &["a", "b"]),
        ] {
            assert_eq!(names_below_root(Path::new(path)).unwrap(), names, "{path}");
        }
        for path in ["", "/", ".", "..", "a/../../b"] {
            assert!(names_below_root(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn limits_and_counts_are_read_from_the_kernels_forms() {
        assert_eq!(parse_limit("33554432\n"), Some(32 << 20));
        assert_eq!(parse_limit("max\n"), Some(u64::MAX));
        assert_eq!(parse_limit("\n"), None);
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 4\noom_group_kill 1\n";
        assert_eq!(field(v1, "oom_kill"), Some(3));
        assert_eq!(field(v2, "oom_kill"), Some(4));
        assert_eq!(field(v2, "oom_kills"), None);
    }
}
