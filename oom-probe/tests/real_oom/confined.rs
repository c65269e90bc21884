//! A command with less than root's rights, as a container runtime starts it: uid 0 with a bounding
//! set, a seccomp filter, a value of oom_score_adj.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// What is taken away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confined {
    /// The capabilities that it may have, whatever it executes.
    pub(crate) capabilities: CapabilitySet,
    /// What bpf(2) answers in place of the kernel's own answer.
    pub(crate) bpf: Option<i32>,
    /// Its oom_score_adj, and the lowest that it may go to.
    pub(crate) oom_score_adj: Option<(i16, i16)>,
}

impl Confined {
    /// With no more than these capabilities.
    pub(crate) const fn to(capabilities: CapabilitySet) -> Self {
        Self {
            capabilities,
            bpf: None,
            oom_score_adj: None,
        }
    }

    /// Confines what `command` starts.
    pub(crate) fn apply(self, command: &mut Command) {
        // SAFETY: between fork and exec only system calls are made; the file that is written is
        // the child's own, and its name and content need no allocation.
        unsafe { command.pre_exec(move || self.confine()) };
    }

    fn confine(&self) -> io::Result<()> {
        if let Some((value, lowest)) = self.oom_score_adj {
            // Whoever has CAP_SYS_RESOURCE also sets how low the others may go.
            write_oom_score_adj(lowest)?;
            let mut sets = capabilities(None)?;
            sets.effective.remove(CapabilitySet::SYS_RESOURCE);
            set_capabilities(None, sets)?;
            write_oom_score_adj(value)?;
        }
        for number in 0..64 {
            if self.capabilities.bits() & (1 << number) != 0 {
                continue;
            }
            // SAFETY: prctl(2) with this option takes a number alone.
            let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
            // The kernel has fewer than 64.
            if dropped != 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
                return Err(io::Error::last_os_error());
            }
        }
        self.bpf.map_or(Ok(()), refuse_bpf)
    }
}

fn write_oom_score_adj(value: i16) -> io::Result<()> {
    let mut text = [0; 8];
    let mut rest = &mut text[..];
    io::Write::write_fmt(&mut rest, format_args!("{value}"))?;
    let left = rest.len();
    fs::write("/proc/self/oom_score_adj", &text[..text.len() - left])
}

/// A seccomp filter under which bpf(2) fails with that error number.
fn refuse_bpf(errno: i32) -> io::Result<()> {
    const fn step(code: u32, k: u32) -> libc::sock_filter {
        libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        }
    }
    let filter = [
        // The number of the system call is the first word of `struct seccomp_data`.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            jf: 1,
            ..step(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                libc::SYS_bpf as u32,
            )
        },
        step(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the kernel copies the program, which lives until the call returns.
    let set = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
