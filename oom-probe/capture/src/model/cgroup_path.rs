//! The path of a cgroup, as bytes.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::sys::escape::{Escaped, unescape};

/// The path of a cgroup from the root of its hierarchy.
///
/// Any process that may make a cgroup chooses its name, and a name may hold any byte but `/`, NUL
/// and newline (`kernel/cgroup/cgroup.c`, `cgroup_mkdir`). So a path is bytes wherever it is looked
/// up, compared or read; it is [escaped](Escaped) where it is printed, in JSON too, and what was
/// printed can be read back.
///
/// Of a very deep path not all names are known: an empty one, which no cgroup has, stands for those
/// that are not (`/a//y/z`).
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupPath(Box<[u8]>);

/// A text that is the escaped form of no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an escaped cgroup path")]
pub struct InvalidCgroupPath;

impl CgroupPath {
    /// The path that consists of these names. The root's own, which is empty, may be there or not;
    /// any other that is empty stands for names that are not known.
    pub fn from_levels<'a>(leaf_first: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut names: Vec<_> = leaf_first.skip_while(|name| name.is_empty()).collect();
        if names.last().is_some_and(|name| name.is_empty()) {
            names.pop();
        }
        let mut path = Vec::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        Self(path.into())
    }

    /// The same where the names next to the root are missing.
    pub fn from_levels_below_unknown<'a>(leaf_first: impl Iterator<Item = &'a [u8]>) -> Self {
        Self::from_levels(leaf_first.chain([&b""[..], b""]))
    }

    /// Whether the names next to the root are known.
    pub fn begins_at_root(&self) -> bool {
        !self.0.starts_with(b"//")
    }

    /// The bytes: `/a/b`, and nothing for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names, leaf first. The last is the root's own, which is empty.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> + Clone {
        names(&self.0)
    }
}

/// The names in the bytes of a [`CgroupPath`] or of its beginning.
pub fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    path.rsplit(|&byte| byte == b'/')
}

impl fmt::Display for CgroupPath {
    /// Takes at most four times the bytes of the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        // Each name by itself: no mark of the next may combine with the slash.
        self.0[1..]
            .split(|&byte| byte == b'/')
            .try_for_each(|name| write!(f, "/{}", Escaped(name)))
    }
}

impl fmt::Debug for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CgroupPath({self})")
    }
}

impl FromStr for CgroupPath {
    type Err = InvalidCgroupPath;

    /// Reads the escaped form.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = unescape(text).ok_or(InvalidCgroupPath)?;
        match path.first() {
            Some(b'/') if path.len() == 1 => Ok(Self::default()),
            Some(b'/') => Ok(Self(path.into())),
            _ => Err(InvalidCgroupPath),
        }
    }
}

impl Serialize for CgroupPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CgroupPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
