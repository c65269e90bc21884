//! What a hog sets about itself before its mode begins.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use hog::cgroup::{self, control};
use hog::units::unescape;

use crate::failure::Usage;
use crate::process::set_oom_score_adj;
use crate::program;

/// The kernel's `TASK_COMM_LEN` without the final NUL.
const COMM_BYTES: usize = 15;

/// Options of every mode.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every mode")]
pub(crate) struct Setup {
    /// Join this cgroup before starting: the path of its cgroup.procs; may be given per hierarchy
    #[arg(long, global = true, value_name = "PATH")]
    cgroup_procs: Vec<PathBuf>,

    /// How eagerly the OOM killer takes this process, from -1000 (never) to 1000 (first)
    #[arg(
        long, global = true, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(i16).range(-1000..=1000)
    )]
    oom_score_adj: Option<i16>,

    /// Process name of up to 15 bytes; takes \n \t \r \\ \" \' and \xff
    #[arg(long, global = true, value_name = "BYTES", value_parser = parse_comm)]
    comm: Option<Comm>,

    /// Drop to this user and the group of the same number
    #[arg(long, global = true, value_name = "N")]
    uid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comm(Vec<u8>);

fn parse_comm(text: &str) -> Result<Comm, String> {
    let bytes = unescape(text)?;
    if bytes.contains(&0) {
        return Err("a NUL byte would end the name".to_owned());
    }
    if bytes.len() > COMM_BYTES {
        return Err(format!(
            "{} bytes; the kernel keeps {COMM_BYTES}",
            bytes.len()
        ));
    }
    Ok(Comm(bytes))
}

impl Setup {
    /// Applies them; the user last, since the rest may need root.
    pub(crate) fn apply(&self) -> Result<()> {
        let Self {
            cgroup_procs,
            oom_score_adj,
            comm,
            uid,
        } = self;
        program::keep_in_memory();
        join(cgroup_procs)?;
        if let Some(value) = *oom_score_adj {
            set_oom_score_adj(value)?;
        }
        if let Some(comm) = comm {
            set_comm(comm)?;
        }
        uid.map_or(Ok(()), drop_to)
    }
}

/// Moves this process into cgroups, by their cgroup.procs.
pub(crate) fn join(cgroup_procs: &[PathBuf]) -> Result<()> {
    cgroup_procs.iter().try_for_each(|path| join_one(path))
}

/// A hog that has not joined would grow without the limit: until the machine is out of memory.
fn join_one(path: &Path) -> Result<()> {
    // Any other file would take the 0 as a value of its own: memory.max as a limit.
    let takes_pids = ["cgroup.procs", "tasks"]
        .iter()
        .any(|name| path.ends_with(name));
    if !takes_pids {
        let path = path.display();
        return Err(Usage(format!(
            "{path} is no cgroup.procs, by which a cgroup is joined"
        ))
        .into());
    }
    control::write(path, "0").map_err(|error| match error {
        cgroup::Error::NotACgroup(_) => Usage(format!("cannot join a cgroup: {error}")).into(),
        cgroup::Error::Io { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Usage(format!("cannot join a cgroup: {error}")).into()
        }
        _ => anyhow::Error::new(error).context("cannot join a cgroup"),
    })
}

fn set_comm(Comm(bytes): &Comm) -> Result<()> {
    let mut name = [0u8; COMM_BYTES + 1];
    name[..bytes.len()].copy_from_slice(bytes);
    // SAFETY: PR_SET_NAME reads a NUL-terminated name of at most 16 bytes from memory that outlives
    // the call; the array is one byte longer than any `Comm`.
    if unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error()).context("cannot set the process name");
    }
    Ok(())
}

fn drop_to(uid: u32) -> Result<()> {
    // SAFETY: these calls take numbers, and an empty list of groups needs no memory. PR_SET_DUMPABLE
    // gives /proc/self back to the process, which else belongs to root after a change of user and
    // would refuse children their own oom_score_adj.
    let dropped = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(uid, uid, uid) == 0
            && libc::setresuid(uid, uid, uid) == 0
            && libc::prctl(libc::PR_SET_DUMPABLE, 1) == 0
    };
    if dropped {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
            .with_context(|| format!("cannot become user {uid}; try as root"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_at_most_15_bytes_without_nul() {
        assert_eq!(
            parse_comm(r#"a"\\\n\xff"#),
            Ok(Comm(b"a\"\\\n\xff".to_vec()))
        );
        assert!(parse_comm("123456789012345").is_ok());
        assert!(parse_comm("1234567890123456").is_err());
        assert!(parse_comm(r"a\x00b").is_err());
        assert!(parse_comm(r"\q").is_err());
    }
}
