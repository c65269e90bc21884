//! What is behind a file of a bpffs.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `BPF_OBJ_GET` of include/uapi/linux/bpf.h.
const BPF_OBJ_GET: libc::c_long = 7;

/// The part of `union bpf_attr` for `BPF_OBJ_GET`.
#[repr(C)]
struct ObjectAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Which kind of object it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    Program,
    Link,
}

impl Kind {
    /// By the name that the kernel gives to descriptors of the kind: kernel/bpf/syscall.c,
    /// `anon_inode_getfd` of each.
    fn of_name(name: &str) -> Option<Self> {
        match name.strip_prefix("anon_inode:")? {
            "bpf-map" => Some(Self::Map),
            "bpf-prog" => Some(Self::Program),
            "bpf_link" | "bpf-link" => Some(Self::Link),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Program => "program",
            Self::Link => "link",
        }
    }
}

/// Opens an object of that kind.
///
/// # Errors
/// What bpf(2) says; or it is of another kind.
pub(crate) fn open(path: &Path, wanted: Kind) -> io::Result<OwnedFd> {
    let pathname = CString::new(path.as_os_str().as_bytes())?;
    let attr = ObjectAttr {
        pathname: pathname.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: the struct is as long as said, and the path in it ends with a NUL and outlives the
    // call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET,
            &raw const attr,
            size_of::<ObjectAttr>(),
        )
    };
    let fd = match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(fd @ 0..) => unsafe { OwnedFd::from_raw_fd(fd) },
        _ => return Err(io::Error::last_os_error()),
    };
    let name = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    match Kind::of_name(&name.to_string_lossy()) {
        Some(kind) if kind == wanted => Ok(fd),
        _ => Err(io::Error::other(format!("it is no {}", wanted.as_str()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_tell_their_kind() {
        for (name, kind) in [
            ("anon_inode:bpf-map", Some(Kind::Map)),
            ("anon_inode:bpf-prog", Some(Kind::Program)),
            ("anon_inode:bpf_link", Some(Kind::Link)),
            ("anon_inode:[eventfd]", None),
            ("/tmp/bpf-map", None),
        ] {
            assert_eq!(Kind::of_name(name), kind, "{name}");
        }
    }
}
