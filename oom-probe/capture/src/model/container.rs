//! Containers as cgroup paths name them.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::labels::closed_set;

/// The id that container runtimes give a container or pod sandbox: 64 lower-case hex digits.
///
/// containerd, CRI-O, Docker and Podman all draw 32 random bytes, and the container's status in
/// the Kubernetes API has the same id behind `<runtime>://`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId([u8; 32]);

/// A text that is no container id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a container id: expected 64 lower-case hex digits")]
pub struct InvalidContainerId;

closed_set! {
    /// What runs a container, as far as the name of its cgroup says.
    Runtime {
        /// containerd, by the CRI or nerdctl.
        Containerd = "containerd",
        /// CRI-O.
        CriO = "cri-o",
        /// Docker, directly, by the dockershim or cri-dockerd.
        Docker = "docker",
        /// Podman.
        Podman = "podman",
        /// The sandbox of Kata Containers.
        Kata = "kata",
        /// A system container of LXC, LXD, Incus or Proxmox.
        Lxc = "lxc",
        /// A system container of systemd-nspawn.
        Nspawn = "systemd-nspawn",
    }
}

impl ContainerId {
    /// Hex digits of an id.
    pub const LEN: usize = 64;

    /// The id that these bytes spell.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        decode_hex(hex).map(Self)
    }
}

impl FromStr for ContainerId {
    type Err = InvalidContainerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_hex(text.as_bytes()).ok_or(InvalidContainerId)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({self})")
    }
}

/// `N` bytes from exactly `2 * N` lower-case hex digits: ids are compared as strings elsewhere, so
/// an upper-case spelling would be another id.
pub(crate) fn decode_hex<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if hex.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
