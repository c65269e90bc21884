//! The cgroup hierarchies that are mounted, by `/proc/self/mountinfo`.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// A mounted cgroup hierarchy.
pub(super) struct Mount {
    /// The cgroup that is shown at the mount point.
    pub(super) root: PathBuf,
    /// Where it is mounted.
    pub(super) point: PathBuf,
    kind: Kind,
}

enum Kind {
    V1 { memory: bool, pids: bool },
    V2,
}

/// The lines of mountinfo that are cgroup hierarchies (`Documentation/filesystems/proc.rst`, 3.5).
pub(super) fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = Mount> {
    let lines = mountinfo.split(|&b| b == b'\n');
    lines.filter_map(Mount::parse)
}

impl Mount {
    /// Whether the memory controller is on v1, and here.
    pub(super) fn has_memory(&self) -> bool {
        matches!(self.kind, Kind::V1 { memory: true, .. })
    }

    /// Whether the pids controller is on v1, and here.
    pub(super) fn has_pids(&self) -> bool {
        matches!(self.kind, Kind::V1 { pids: true, .. })
    }

    /// The mount of the memory controller, of that version, that a directory is in.
    pub(super) fn over(mountinfo: &[u8], directory: &Path, version: u8) -> Option<Self> {
        let is = if version == 2 {
            Self::is_v2
        } else {
            Self::has_memory
        };
        mounts(mountinfo)
            .filter(|mount| is(mount) && directory.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.components().count())
    }

    pub(super) fn is_v2(&self) -> bool {
        matches!(self.kind, Kind::V2)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let mut described = fields.skip_while(|&field| field != b"-").skip(1);
        let kind = match described.next()? {
            b"cgroup2" => Kind::V2,
            b"cgroup" => {
                let options = described.nth(1)?;
                let has = |name: &[u8]| options.split(|&b| b == b',').any(|option| option == name);
                Kind::V1 {
                    memory: has(b"memory"),
                    pids: has(b"pids"),
                }
            }
            _ => return None,
        };
        let path = |field| PathBuf::from(OsStr::from_bytes(&unescape_octal(field)));
        Some(Self {
            root: path(root),
            point: path(point),
            kind,
        })
    }
}

/// Undoes `mangle_path` of the kernel's `fs/seq_file.c`: `\040` for a space.
fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[4..] } else { after };
    }
    bytes
}
