//! The cgroup hierarchy: the unified one, or the old memory controller if asked for.

use std::fs::OpenOptions;
use std::io::Write;

use crate::mounts::mount;

const ROOT: &str = "/sys/fs/cgroup";

/// Which hierarchy the machine gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

impl Version {
    /// v2 unless the command line asks for `oomprobe.cgroup=v1`.
    pub(crate) fn from_cmdline(cmdline: &str) -> Self {
        match crate::parameter(cmdline, "oomprobe.cgroup") {
            Some("v1") => Self::V1,
            _ => Self::V2,
        }
    }
}

/// Mounts the hierarchy with the controllers that the test needs; gives what did not work.
pub(crate) fn mount_all(version: Version) -> Vec<String> {
    let results = match version {
        Version::V1 => v1(),
        Version::V2 => v2(),
    };
    results.into_iter().filter_map(Result::err).collect()
}

fn v1() -> Vec<Result<(), String>> {
    let mut results = vec![mount("tmpfs", ROOT, "tmpfs", "")];
    for controller in ["memory", "cpuset", "pids"] {
        let at = format!("{ROOT}/{controller}");
        results.push(mount("cgroup", &at, "cgroup", controller));
    }
    results
}

fn v2() -> Vec<Result<(), String>> {
    let mut results = vec![mount("cgroup2", ROOT, "cgroup2", "")];
    // One write each: a controller that the kernel lacks would refuse the others too.
    for controller in ["+memory", "+cpuset", "+cpu", "+pids"] {
        let file = format!("{ROOT}/cgroup.subtree_control");
        // Not created: where the mount failed it would be a plain file.
        let written = OpenOptions::new()
            .write(true)
            .open(&file)
            .and_then(|mut file| file.write_all(controller.as_bytes()));
        results.push(written.map_err(|error| format!("{controller} to {file}: {error}")));
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_only_if_asked_for() {
        assert_eq!(
            Version::from_cmdline("quiet oomprobe.cgroup=v1 x"),
            Version::V1
        );
        assert_eq!(
            Version::from_cmdline("quiet oomprobe.cgroup=v2"),
            Version::V2
        );
        assert_eq!(Version::from_cmdline("quiet"), Version::V2);
    }
}
