//! systemd units as cgroup paths name them.

use std::fmt;

/// Name of the systemd unit that runs a process: `nginx.service`, `session-3.scope`.
///
/// Spelled as systemd spells it, which is what `systemctl status` takes: characters that a unit
/// name cannot have stand in it as systemd's own `\x2d`, not decoded. A unit name is printable
/// ASCII without blanks, so that it needs no further escaping.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit(Box<str>);

/// Unit types that hold processes. A slice only holds other units.
const TYPES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// `UNIT_NAME_MAX` of `src/basic/unit-name.h`, without the NUL.
const MAX_LEN: usize = 255;

impl Unit {
    /// The unit whose cgroup has this name; absent where that is no unit's, or a slice.
    ///
    /// systemd puts a `_` before names that could be mistaken for a file of the cgroup, such as
    /// `memory.service`, and before its own `_` (`src/basic/cgroup-util.c`, `cg_escape`).
    pub fn from_cgroup_name(name: &[u8]) -> Option<Self> {
        let name = str::from_utf8(name.strip_prefix(b"_").unwrap_or(name)).ok()?;
        let stem = TYPES.iter().find_map(|suffix| name.strip_suffix(suffix))?;
        // `src/basic/unit-name.c`, VALID_CHARS_WITH_AT.
        let valid = |c: u8| c.is_ascii_alphanumeric() || b":-_.\\@".contains(&c);
        (!stem.is_empty() && name.len() <= MAX_LEN && name.bytes().all(valid))
            .then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
