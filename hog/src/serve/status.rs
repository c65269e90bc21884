//! What a replica tells about itself, to `hog drill` among others.

use hog::cgroup::{Cgroup, Error, Hierarchy, Version};
use serde::{Deserialize, Serialize};

/// `GET /status`. What could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// Bytes taken on request and held.
    pub(crate) held_bytes: u64,
    /// Bytes to which an allocation under way goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_bytes: Option<u64>,
    /// Memory charged to its cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage_bytes: Option<u64>,
    /// The lowest limit that it can see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit_bytes: Option<u64>,
    /// The version of the memory controller's files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup_version: Option<u8>,
    /// Whether an OOM kill takes the whole cgroup (memory.oom.group); v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oom_group: Option<bool>,
}

impl Status {
    pub(super) fn read(held_bytes: u64, target_bytes: Option<u64>) -> Self {
        let told = Self {
            held_bytes,
            target_bytes,
            ..Self::default()
        };
        told.clone().with_cgroup().unwrap_or(told)
    }

    fn with_cgroup(self) -> Result<Self, Error> {
        let hierarchy = Hierarchy::detect()?;
        let own = Cgroup::of_self(&hierarchy)?;
        Ok(Self {
            usage_bytes: own.usage().ok(),
            limit_bytes: hierarchy.limit_of_self().ok().flatten(),
            cgroup_version: Some(match hierarchy.version {
                Version::V1 => 1,
                Version::V2 => 2,
            }),
            oom_group: own.oom_group().ok().flatten(),
            ..self
        })
    }
}
