//! Whether bpf(2) is to be had, and who refuses it if not.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use super::process::{Capabilities, Capability, Seccomp};

/// What two harmless calls of bpf(2) answered: 0 or the error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// A look-up with an argument that is too large: `E2BIG` wherever the call reaches the kernel.
    pub reach: i32,
    /// Making a map of one element.
    pub create: i32,
}

/// What the answers mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Maps can be made.
    Granted,
    /// The kernel has no bpf(2).
    NotBuilt,
    /// A seccomp filter refuses the call before the kernel sees it.
    Seccomp,
    /// These capabilities are missing.
    Capability(Vec<Capability>),
    /// The capabilities are those of a user namespace, which don't count here.
    UserNamespace,
    /// The kernel itself refuses it: by a security module (SELinux, AppArmor, BPF LSM), or by
    /// `RLIMIT_MEMLOCK`, where maps count against that.
    Denied,
    /// Something else: the error number.
    Failed(i32),
}

/// What programs and maps of tracing need.
const NEEDED: [Capability; 2] = [Capability::Bpf, Capability::Perfmon];

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
/// More than a page of any size: `bpf_check_uarg_tail_zero` (kernel/bpf/syscall.c) refuses it
/// before it looks at a byte.
const TOO_LARGE: libc::c_ulong = 1 << 20;

/// The beginning of `union bpf_attr` for `BPF_MAP_CREATE`; the kernel takes the rest for zeros.
#[repr(C)]
struct MapAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

impl Calls {
    pub(super) fn gather() -> Self {
        let attr = MapAttr {
            map_type: BPF_MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
        };
        let pointer = &raw const attr;
        // SAFETY: the kernel refuses the size before it reads from the pointer.
        let reach =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_ELEM, pointer, TOO_LARGE) };
        let reach = error_number(reach);
        // SAFETY: the pointer is valid for the size, which is that of the struct behind it.
        let fd =
            unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, pointer, size_of::<MapAttr>()) };
        let create = error_number(fd);
        if let Ok(fd @ 0..) = i32::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        Self { reach, create }
    }
}

/// 0, or why the last call failed.
fn error_number(result: libc::c_long) -> i32 {
    if result >= 0 {
        0
    } else {
        io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }
}

impl Access {
    /// Tells apart who refuses bpf(2), or the tracing programs that come after.
    pub(super) fn of(
        Calls { reach, create }: Calls,
        capabilities: Capabilities,
        initial_user_namespace: bool,
        seccomp: Seccomp,
    ) -> Self {
        let missing = capabilities.missing(&NEEDED);
        if matches!(reach, libc::ENOSYS) {
            return if seccomp == Seccomp::Filter {
                Self::Seccomp
            } else {
                Self::NotBuilt
            };
        }
        // With the capabilities nothing but a filter comes before the size is looked at. Without
        // them old kernels refuse every command, and runtimes' filters go by capabilities too.
        if !missing.is_empty() {
            return Self::Capability(missing);
        }
        match (reach, create) {
            (libc::E2BIG, 0) if !initial_user_namespace => Self::UserNamespace,
            (libc::E2BIG, 0) => Self::Granted,
            (_, libc::EPERM) if !initial_user_namespace => Self::UserNamespace,
            (libc::EPERM | libc::EACCES, _) => Self::Seccomp,
            (_, libc::EPERM | libc::EACCES) => Self::Denied,
            (_, 0) => Self::Failed(reach),
            (_, error) => Self::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{E2BIG, EACCES, EINVAL, ENOSYS, EPERM};

    #[test]
    fn who_refuses_bpf_is_told_apart() {
        let all = Capabilities::of(&NEEDED);
        let bpf = Capabilities::of(&[Capability::Bpf]);
        let none = Capabilities::of(&[]);
        let (free, filter) = (Seccomp::Disabled, Seccomp::Filter);
        for (reach, create, capabilities, initial, seccomp, access) in [
            (E2BIG, 0, all, true, free, Access::Granted),
            (E2BIG, 0, all, true, filter, Access::Granted),
            (ENOSYS, ENOSYS, all, true, free, Access::NotBuilt),
            (ENOSYS, ENOSYS, none, true, filter, Access::Seccomp),
            (EPERM, EPERM, all, true, filter, Access::Seccomp),
            (
                EPERM,
                EPERM,
                none,
                true,
                filter,
                Access::Capability(NEEDED.to_vec()),
            ),
            (
                EPERM,
                EPERM,
                none,
                true,
                free,
                Access::Capability(NEEDED.to_vec()),
            ),
            (
                E2BIG,
                EPERM,
                none,
                true,
                free,
                Access::Capability(NEEDED.to_vec()),
            ),
            // Unprivileged bpf(2) makes maps, but loads no tracing programs.
            (
                E2BIG,
                0,
                none,
                true,
                free,
                Access::Capability(NEEDED.to_vec()),
            ),
            (
                E2BIG,
                0,
                bpf,
                true,
                free,
                Access::Capability(vec![Capability::Perfmon]),
            ),
            (E2BIG, EPERM, all, false, free, Access::UserNamespace),
            (EPERM, EPERM, all, false, free, Access::UserNamespace),
            (E2BIG, 0, all, false, free, Access::UserNamespace),
            (E2BIG, EACCES, all, true, free, Access::Denied),
            (E2BIG, EPERM, all, true, free, Access::Denied),
            (E2BIG, EINVAL, all, true, free, Access::Failed(EINVAL)),
            (EINVAL, 0, all, true, free, Access::Failed(EINVAL)),
        ] {
            let found = Access::of(Calls { reach, create }, capabilities, initial, seccomp);
            assert_eq!(
                found, access,
                "{reach} {create} {capabilities:?} {initial} {seccomp:?}"
            );
        }
    }

    #[test]
    fn asking_leaves_no_descriptor_behind() {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        Calls::gather();
        let before = open();
        for _ in 0..64 {
            Calls::gather();
        }
        // Other tests open files meanwhile, but not 64.
        assert!(open() < before + 64);
    }
}
