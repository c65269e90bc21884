//! `memory.oom.group` of one cgroup, and the note beside it of what it was before.
//!
//! The note is an extended attribute of the cgroup's directory: it lasts as long as the cgroup,
//! survives this daemon, and needs no file elsewhere (cgroup2 has `user.*` attributes since Linux 5.7,
//! `KERNFS_ROOT_SUPPORT_USER_XATTR`).

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{XattrFlags, getxattr, removexattr, setxattr},
    io::Errno,
};

use super::annotation::Setting;
use capture::sys::escape::Escaped;

/// The file in the cgroup's directory.
pub(super) const NAME: &str = "memory.oom.group";
/// The note: the value that somebody else had written.
const ORIGINAL: &str = "user.oom-probe.memory.oom.group";

/// The file of that cgroup.
pub(super) fn path(cgroup: &Path) -> PathBuf {
    cgroup.join(NAME)
}

/// The file of that cgroup for a log: a container's processes may make cgroups of any name.
pub(super) fn shown(cgroup: &Path) -> String {
    Escaped::path(&path(cgroup)).to_string()
}

/// The value now.
///
/// # Errors
/// `NotFound` where the cgroup is gone or has no memory controller.
pub(super) fn read(cgroup: &Path) -> io::Result<Setting> {
    let text = fs::read_to_string(path(cgroup))?;
    Setting::parse(text.trim_end()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Writes a value. One write, no truncation, so that a watch on the file tells of it once.
///
/// # Errors
/// Those of [`read`], and `EROFS` or `EACCES` where cgroups cannot be written to.
pub(super) fn write(cgroup: &Path, setting: Setting) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path(cgroup))?;
    file.write_all(setting.as_str().as_bytes())
}

/// What was there before, if the value now is this daemon's.
///
/// # Errors
/// The cgroup is gone.
pub(super) fn original(cgroup: &Path) -> io::Result<Option<Setting>> {
    let mut value = [0; 8];
    match getxattr(cgroup, ORIGINAL, &mut value[..]) {
        Ok(length) => Ok(std::str::from_utf8(&value[..length])
            .ok()
            .and_then(Setting::parse)),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Notes what was there before.
///
/// # Errors
/// The cgroup is gone, or takes no attributes.
pub(super) fn remember(cgroup: &Path, original: Setting) -> io::Result<()> {
    let value = original.as_str().as_bytes();
    Ok(setxattr(cgroup, ORIGINAL, value, XattrFlags::empty())?)
}

/// Drops the note.
///
/// # Errors
/// The cgroup is gone.
pub(super) fn forget(cgroup: &Path) -> io::Result<()> {
    match removexattr(cgroup, ORIGINAL) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
