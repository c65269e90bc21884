//! What bpftrace can do, in a mount namespace of its own where tracefs is to be found.

use std::ffi::CStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::ptr;

use anyhow::{Context as _, Result};

use super::{Line, Rival};
use crate::cmd;

/// The tracepoint, and the cgroup looked up in /proc.
pub(super) const MARK_VICTIM: Rival = Rival {
    name: "bpftrace, `mark_victim` and `/proc`",
    command: || {
        let program = "tracepoint:oom:mark_victim \
                       { printf(\"kill %d\\n\", args->pid); cat(\"/proc/%d/cgroup\", args->pid); }";
        bpftrace(&["-e".as_ref(), program.as_ref()])
    },
    ready: "Attaching",
    parse: one_liner,
};

/// The tool that comes with it.
pub(super) const OOMKILL: Rival = Rival {
    name: "bpftrace's `oomkill.bt`",
    command: || {
        let tool = cmd::which("oomkill.bt").context("oomkill.bt is not on the PATH")?;
        bpftrace(&[&tool])
    },
    ready: "Tracing oom_kill_process()",
    parse: oomkill,
};

fn bpftrace(arguments: &[&Path]) -> Result<Command> {
    let program = cmd::which("bpftrace").context("bpftrace is not on the PATH")?;
    let mut command = Command::new(program);
    command.args(["-B", "none"]).args(arguments);
    // SAFETY: between fork and exec it makes system calls with constants only.
    unsafe { command.pre_exec(mount_tracing) };
    Ok(command)
}

/// Mounts what bpftrace looks into, seen by this process alone.
fn mount_tracing() -> io::Result<()> {
    // SAFETY: unshare takes no pointer.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE)?;
    for (kind, at) in [
        (c"tracefs", c"/sys/kernel/tracing"),
        (c"debugfs", c"/sys/kernel/debug"),
    ] {
        // Where one of them cannot be, the other may do; else bpftrace says what it lacks.
        let _ = mount(kind, at, 0);
    }
    Ok(())
}

fn mount(kind: &CStr, at: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: C strings that live until the call returns, and no data.
    let result = unsafe {
        libc::mount(
            kind.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags,
            ptr::null(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `kill PID`, then what /proc/PID/cgroup says, if it can be read.
fn one_liner(line: &str) -> Option<Line> {
    if let Some(pid) = line.strip_prefix("kill ") {
        return Some(Line::Kill {
            pid: Some(pid.trim().parse().ok()?),
            cgroup: None,
        });
    }
    let mut fields = line.splitn(3, ':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let is_memory = controllers.split(',').any(|name| name == "memory");
    (is_memory || (id, controllers) == ("0", "") && path != "/")
        .then(|| Line::Cgroup(path.to_owned()))
}

/// `21:03:39 Triggered by PID 3297 ("ntpd"), OOM kill of PID 22516 ("perl"), 3850642 pages, …`
fn oomkill(line: &str) -> Option<Line> {
    let (_, rest) = line.split_once("OOM kill of PID ")?;
    Some(Line::Kill {
        pid: Some(rest.split(' ').next()?.parse().ok()?),
        cgroup: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_of_a_kill_and_then_of_its_cgroup() {
        let kill = |pid| Line::Kill {
            pid: Some(pid),
            cgroup: None,
        };
        for (line, expected) in [
            ("kill 4711", Some(kill(4711))),
            ("5:memory:/a/b", Some(Line::Cgroup("/a/b".into()))),
            ("5:memory:/", Some(Line::Cgroup("/".into()))),
            ("0::/a", Some(Line::Cgroup("/a".into()))),
            ("0::/", None),
            ("4:cpu,cpuacct:/a", None),
            ("ERROR: failed to open file '/proc/1/cgroup'", None),
        ] {
            assert_eq!(one_liner(line), expected, "{line}");
        }
        let line =
            r#"21:03:39 Triggered by PID 3297 ("ntpd"), OOM kill of PID 22516 ("perl"), 1 pages"#;
        assert_eq!(oomkill(line), Some(kill(22516)));
    }
}
