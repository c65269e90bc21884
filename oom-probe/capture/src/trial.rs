//! Attaches a program that does nothing, for a moment: whether the kernel lets it is seen by no other
//! sign.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::btf::TypeId;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To a tracepoint, by its name: `raw_tp`.
    RawTp(&'static CStr),
    /// To a tracepoint, by its typedef: `tp_btf`.
    TpBtf(TypeId),
    /// To the begin of a function.
    Fentry(TypeId),
    /// To the end of a function.
    Fexit(TypeId),
}

// include/uapi/linux/bpf.h
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const BPF_PROG_TYPE_TRACING: u32 = 26;
const BPF_TRACE_RAW_TP: u32 = 23;
const BPF_TRACE_FENTRY: u32 = 24;
const BPF_TRACE_FEXIT: u32 = 25;

/// `r0 = 0; exit` as `struct bpf_insn`.
const DO_NOTHING: [u64; 2] = [0xb7, 0x95];

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest for zeros.
#[derive(Default)]
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// The same for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct OpenAttr {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

/// Attaches a program that does nothing and detaches it again.
///
/// # Errors
/// What bpf(2) says.
pub fn attach(target: Target) -> io::Result<()> {
    let program = match load(target) {
        // Before Linux 5.11 programs count against it.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && raise_memlock() => load(target)?,
        loaded => loaded?,
    };
    let name = match target {
        Target::RawTp(name) => name.as_ptr() as u64,
        Target::TpBtf(_) | Target::Fentry(_) | Target::Fexit(_) => 0,
    };
    let attr = OpenAttr {
        name,
        prog_fd: program.as_raw_fd().cast_unsigned(),
        padding: 0,
    };
    // It is detached when its link is closed.
    // SAFETY: the name is none or ends with a NUL, and the kernel keeps no pointer to it.
    unsafe { bpf(BPF_RAW_TRACEPOINT_OPEN, &attr) }.map(drop)
}

fn load(target: Target) -> io::Result<OwnedFd> {
    let (prog_type, expected_attach_type, TypeId(attach_btf_id)) = match target {
        Target::RawTp(_) => (BPF_PROG_TYPE_RAW_TRACEPOINT, 0, TypeId(0)),
        Target::TpBtf(id) => (BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, id),
        Target::Fentry(id) => (BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, id),
        Target::Fexit(id) => (BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, id),
    };
    let license = c"GPL";
    let attr = LoadAttr {
        prog_type,
        insn_cnt: DO_NOTHING.len() as u32,
        insns: DO_NOTHING.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type,
        attach_btf_id,
        ..LoadAttr::default()
    };
    // SAFETY: the instructions are as many as is said, the licence ends with a NUL, and the kernel
    // keeps no pointer to either.
    unsafe { bpf(BPF_PROG_LOAD, &attr) }
}

/// Whether there is more now than before, for all that is known.
fn raise_memlock() -> bool {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Memlock, unlimited).is_ok()
}

/// Calls bpf(2) for a command that makes a descriptor.
///
/// # Safety
/// `A` is the beginning of the command's part of `union bpf_attr`, and its pointers are valid.
unsafe fn bpf<A>(command: libc::c_long, attr: &A) -> io::Result<OwnedFd> {
    // SAFETY: the pointer is valid for the size, which is that of the struct behind it; the rest is
    // the caller's.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attr, size_of::<A>()) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(fd @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_attributes_lie_where_the_kernel_reads_them() {
        // include/uapi/linux/bpf.h, as `pahole -C bpf_attr` shows it.
        assert_eq!(offset_of!(LoadAttr, prog_name), 48);
        assert_eq!(offset_of!(LoadAttr, expected_attach_type), 68);
        assert_eq!(offset_of!(LoadAttr, func_info), 80);
        assert_eq!(offset_of!(LoadAttr, attach_btf_id), 108);
        assert_eq!(size_of::<LoadAttr>(), 112);
        assert_eq!(size_of::<OpenAttr>(), 16);
    }

    #[test]
    fn a_tracepoint_that_is_not_there_is_an_error() {
        attach(Target::RawTp(c"oom_probe_no_such_tracepoint")).unwrap_err();
    }
}
