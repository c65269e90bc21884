//! Pods as the kubelet names their cgroups.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::container::decode_hex;
use crate::model::labels::closed_set;

/// What the kubelet calls a pod by: `metadata.uid`, a UUID; or for a static pod the hash of its
/// manifest, 32 hex digits, which the API knows as the annotation `kubernetes.io/config.hash`
/// (`pkg/kubelet/config/common.go`, `applyDefaults`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PodUid {
    /// `metadata.uid`.
    Uuid([u8; 16]),
    /// `kubernetes.io/config.hash`.
    ConfigHash([u8; 16]),
}

/// A text that is no pod UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a pod UID: expected a lower-case UUID or 32 lower-case hex digits")]
pub struct InvalidPodUid;

closed_set! {
    /// Quality of service class of a pod, as the API spells it.
    Qos {
        /// Every container has equal requests and limits: directly below `kubepods`.
        Guaranteed = "Guaranteed",
        /// Below `kubepods/burstable`.
        Burstable = "Burstable",
        /// No requests or limits: below `kubepods/besteffort`.
        BestEffort = "BestEffort",
    }
}

/// Where a UUID has its dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];

impl PodUid {
    /// The UID in the name of a cgroup: the systemd driver writes `_` for `-`, which would be a
    /// level of slices (`pkg/kubelet/cm/cgroup_manager_linux.go`, `escapeSystemdCgroupName`).
    pub fn from_cgroup_name(name: &[u8]) -> Option<Self> {
        match name.len() {
            32 => decode_hex(name).map(Self::ConfigHash),
            36 => {
                let mut hex = [0; 32];
                let mut digits = hex.iter_mut();
                for (at, &byte) in name.iter().enumerate() {
                    if !DASHES.contains(&at) {
                        *digits.next()? = byte;
                    } else if !matches!(byte, b'-' | b'_') {
                        return None;
                    }
                }
                decode_hex(&hex).map(Self::Uuid)
            }
            _ => None,
        }
    }
}

impl FromStr for PodUid {
    type Err = InvalidPodUid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('_') {
            return Err(InvalidPodUid);
        }
        Self::from_cgroup_name(text.as_bytes()).ok_or(InvalidPodUid)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, dashes): (_, &[usize]) = match self {
            Self::Uuid(bytes) => (bytes, &[4, 6, 8, 10]),
            Self::ConfigHash(bytes) => (bytes, &[]),
        };
        for (at, byte) in bytes.iter().enumerate() {
            if dashes.contains(&at) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Serialize for PodUid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PodUid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PodUid({self})")
    }
}
