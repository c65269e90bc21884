//! A kill with everything that its record leaves out, so that it can still be attributed after a
//! restart.

use std::borrow::Borrow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    cgroup::path,
    model::{
        identity::Identity,
        kill::{Kill, KillId, PidNamespace},
    },
};

/// A kill as the state keeps it: `{"kill":{…},"hidden":{…}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole<K>(pub K);

/// What a kill record does not show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    tgid: u32,
    start_time_ns: u64,
    boottime_ns: u64,
    /// Level and inode number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid_ns: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_memcg: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cgroup_ids: Vec<u64>,
}

/// How it is written.
#[derive(Serialize, Deserialize)]
struct Stored<K> {
    kill: K,
    hidden: Hidden,
}

impl Hidden {
    /// What the record of this kill will not show.
    pub fn of(kill: &Kill) -> Self {
        let KillId {
            tgid,
            start_time_ns,
        } = kill.key;
        let pid_ns = kill.victim.pid_ns;
        Self {
            tgid,
            start_time_ns,
            boottime_ns: kill.boottime_ns,
            pid_ns: pid_ns.map(|PidNamespace { level, inum }| (level, inum)),
            parent_memcg: kill.victim.parent_memcg,
            cgroup_ids: kill.cgroup_ids.clone(),
        }
    }

    /// Puts it back. What the path says of container and pod is read from it anew; on a node that
    /// is itself a container that is for the attributor to narrow.
    pub fn restore(self, kill: &mut Kill) {
        let Self {
            tgid,
            start_time_ns,
            boottime_ns,
            pid_ns,
            parent_memcg,
            cgroup_ids,
        } = self;
        kill.key = KillId {
            tgid,
            start_time_ns,
        };
        kill.boottime_ns = boottime_ns;
        kill.victim.pid_ns = pid_ns.map(|(level, inum)| PidNamespace { level, inum });
        kill.victim.parent_memcg = parent_memcg;
        kill.cgroup_ids = cgroup_ids;
        let path = kill.cgroup.as_ref().and_then(|at| at.path.as_ref());
        kill.identity = path.map_or_else(Identity::default, |path| path::parse(path.names()));
    }
}

impl<K: Borrow<Kill>> Serialize for Whole<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kill = self.0.borrow();
        let hidden = Hidden::of(kill);
        Stored { kill, hidden }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Whole<Kill> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Stored::<Kill> { mut kill, hidden } = Stored::deserialize(deserializer)?;
        hidden.restore(&mut kill);
        Ok(Self(kill))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::fixture::kill_in;

    #[test]
    fn what_a_path_says_is_the_same_after_a_restart() {
        for path in [
            r"/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt/emulator",
            "/system.slice/nginx.service (deleted)",
            "/batch/\u{202e}job\u{1b}[2J",
            r"/system.slice/a\\x2d.service",
        ] {
            let mut kill = kill_in("/");
            let path = crate::model::cgroup_path::names(path.as_bytes());
            let path = crate::model::cgroup_path::CgroupPath::from_levels(path);
            kill.identity = path::parse(path.names());
            kill.cgroup.as_mut().expect("the fixture has one").path = Some(path);
            let kept = serde_json::to_string(&Whole(&kill)).unwrap();
            let Whole(kept) = serde_json::from_str::<Whole<Kill>>(&kept).unwrap();
            assert_eq!(kept.cgroup, kill.cgroup);
            assert_eq!(kept.identity, kill.identity);
        }
    }
}
