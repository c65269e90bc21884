//! Where the memory controller is mounted, and in which version.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::group::{limit_in, read_number};

/// Which set of files the memory controller offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `memory.limit_in_bytes` and its kin, in a hierarchy of the memory controller's own.
    V1,
    /// `memory.max` and its kin, in the unified hierarchy.
    V2,
}

/// The mounted hierarchy that holds the memory controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// The version of the memory controller's files.
    pub version: Version,
    /// Where it is mounted.
    pub root: PathBuf,
    /// The cgroup that is mounted there: `/`, or a container's cgroup without a cgroup namespace.
    pub mounted: PathBuf,
    /// The cgroup2 mount beside a v1 memory hierarchy (hybrid): it carries no memory controller.
    pub unified: Option<PathBuf>,
}

struct Mount {
    mounted: PathBuf,
    point: PathBuf,
}

impl Hierarchy {
    /// Finds the memory controller of this machine.
    ///
    /// # Errors
    /// [`Error::NoHierarchy`], [`Error::NoMemoryController`], or /proc cannot be read.
    pub fn detect() -> Result<Self, Error> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
        let found = Self::from_mountinfo(&text).ok_or(Error::NoHierarchy)?;
        if found.version == Version::V2 {
            let offered = found.root.join("cgroup.controllers");
            let names = fs::read_to_string(&offered)
                .map_err(|source| Error::io("read", &offered, source))?;
            if !names.split_whitespace().any(|name| name == "memory") {
                return Err(Error::NoMemoryController(found.root));
            }
        }
        Ok(found)
    }

    /// Decides from the text of /proc/self/mountinfo (proc_pid_mountinfo(5)): a v1 memory hierarchy
    /// if one is mounted, since the controller lives in exactly one hierarchy, else cgroup2.
    /// Of several mounts the one that shows the most is taken: the hierarchy's own root first.
    #[must_use]
    pub fn from_mountinfo(text: &str) -> Option<Self> {
        let mut memory_v1: Option<Mount> = None;
        let mut unified: Option<Mount> = None;
        for line in text.lines() {
            let Some((mount, kind, options)) = parse_line(line) else {
                continue;
            };
            let slot = match kind {
                "cgroup" if options.split(',').any(|option| option == "memory") => &mut memory_v1,
                "cgroup2" => &mut unified,
                _ => continue,
            };
            let at_root = |mount: &Mount| mount.mounted == Path::new("/");
            if slot
                .as_ref()
                .is_none_or(|known| !at_root(known) && at_root(&mount))
            {
                *slot = Some(mount);
            }
        }
        match (memory_v1, unified) {
            (Some(memory), unified) => Some(Self {
                version: Version::V1,
                root: memory.point,
                mounted: memory.mounted,
                unified: unified.map(|mount| mount.point),
            }),
            (None, Some(unified)) => Some(Self {
                version: Version::V2,
                root: unified.point,
                mounted: unified.mounted,
                unified: None,
            }),
            (None, None) => None,
        }
    }

    /// The directory of the calling process' own memory cgroup, as far as this mount shows it.
    ///
    /// # Errors
    /// /proc/self/cgroup cannot be read.
    pub fn own_directory(&self) -> Result<PathBuf, Error> {
        let path = Path::new("/proc/self/cgroup");
        let text = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
        Ok(self.directory_from_proc(&text))
    }

    fn directory_from_proc(&self, proc_cgroup: &str) -> PathBuf {
        let own = proc_cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let ours = match self.version {
                Version::V1 => controllers.split(',').any(|name| name == "memory"),
                Version::V2 => id == "0" && controllers.is_empty(),
            };
            ours.then_some(path)
        });
        let below_mount = own.and_then(|path| Path::new(path).strip_prefix(&self.mounted).ok());
        below_mount.map_or_else(|| self.root.clone(), |relative| self.root.join(relative))
    }

    /// The lowest memory limit in bytes that applies to the calling process, of those that this
    /// mount shows; `None` if it shows none below the machine's own memory.
    ///
    /// # Errors
    /// A file of the cgroup cannot be read.
    pub fn limit_of_self(&self) -> Result<Option<u64>, Error> {
        let own = self.own_directory()?;
        let mut lowest = None;
        for directory in own
            .ancestors()
            .take_while(|path| path.starts_with(&self.root))
        {
            if let Some(limit) = limit_in(self.version, directory)? {
                lowest = Some(lowest.map_or(limit, |known: u64| known.min(limit)));
            }
        }
        let machine = machine_memory()?;
        Ok(lowest.filter(|&limit| limit < machine))
    }
}

/// `MemTotal` in bytes.
fn machine_memory() -> Result<u64, Error> {
    let path = Path::new("/proc/meminfo");
    let kibibytes = read_number(path, |text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    })?;
    Ok(kibibytes * 1024)
}

fn parse_line(line: &str) -> Option<(Mount, &str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ');
    let mounted = unescape_octal(before.nth(3)?);
    let point = unescape_octal(before.next()?);
    let mut after = after.split(' ');
    let kind = after.next()?;
    let options = after.nth(1)?;
    Some((Mount { mounted, point }, kind, options))
}

/// mountinfo writes space, tab, newline and backslash as `\040` and so on
/// (kernel fs/proc_namespace.c, `mangle`).
fn unescape_octal(text: &str) -> PathBuf {
    let mut path = text.to_owned();
    for (escape, character) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        if path.contains(escape) {
            path = path.replace(escape, character);
        }
    }
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    // From a 6.18 development machine with one hierarchy per controller.
    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    // From Debian 12 under systemd.
    const V2: &str = "\
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
29 22 0:25 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
";
    // From docker on cgroup v1 without a cgroup namespace.
    const V1_CONTAINER: &str = "\
800 799 0:31 /docker/4f /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct
811 799 0:35 /docker/4f /sys/fs/cgroup/memory ro,nosuid,nodev,noexec master:16 - cgroup cgroup rw,memory
";

    #[test]
    fn the_memory_controller_is_found_in_its_one_hierarchy() {
        let hybrid = Hierarchy::from_mountinfo(HYBRID).unwrap();
        assert_eq!(hybrid.version, Version::V1);
        assert_eq!(hybrid.root, Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(
            hybrid.unified.as_deref(),
            Some(Path::new("/sys/fs/cgroup/unified"))
        );

        let v2 = Hierarchy::from_mountinfo(V2).unwrap();
        assert_eq!((v2.version, v2.unified), (Version::V2, None));
        assert_eq!(v2.root, Path::new("/sys/fs/cgroup"));

        let v1 = Hierarchy::from_mountinfo(V1_CONTAINER).unwrap();
        assert_eq!((v1.version, v1.unified), (Version::V1, None));
        assert_eq!(v1.mounted, Path::new("/docker/4f"));
    }

    #[test]
    fn no_memory_controller_is_no_hierarchy() {
        for text in [
            "",
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n",
            "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n",
            "garbage\n - \n",
        ] {
            assert_eq!(Hierarchy::from_mountinfo(text), None, "{text}");
        }
    }

    #[test]
    fn the_mount_of_the_whole_hierarchy_wins_and_spaces_are_unescaped() {
        let text = "\
50 1 0:25 /docker/4f /inner rw - cgroup2 cgroup2 rw
51 1 0:25 / /with\\040space rw - cgroup2 cgroup2 rw
52 1 0:25 / /later rw - cgroup2 cgroup2 rw
";
        let found = Hierarchy::from_mountinfo(text).unwrap();
        assert_eq!(found.root, Path::new("/with space"));
    }

    #[test]
    fn ones_own_directory_is_told_relative_to_what_is_mounted() {
        let v1 = Hierarchy::from_mountinfo(V1_CONTAINER).unwrap();
        let v2 = Hierarchy::from_mountinfo(V2).unwrap();
        for (hierarchy, proc_cgroup, directory) in [
            (
                &v1,
                "4:memory:/docker/4f/leaf\n0::/x\n",
                "/sys/fs/cgroup/memory/leaf",
            ),
            (&v1, "4:cpu,memory:/docker/4f\n", "/sys/fs/cgroup/memory"),
            (&v1, "4:memory:/elsewhere\n", "/sys/fs/cgroup/memory"),
            (
                &v2,
                "1:name=systemd:/y\n0::/user.slice/a:b\n",
                "/sys/fs/cgroup/user.slice/a:b",
            ),
            (&v2, "0::/\n", "/sys/fs/cgroup"),
        ] {
            let found = hierarchy.directory_from_proc(proc_cgroup);
            assert_eq!(found.to_string_lossy().trim_end_matches('/'), directory);
        }
    }
}
