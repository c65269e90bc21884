//! `oom-probe mount-bpffs`: what a node without a bpffs needs before kills can be kept over a
//! restart. In a pod it is the one privileged init container, so it does nothing else.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};

/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The flags of `oom-probe mount-bpffs`.
#[derive(Clone, Debug, clap::Args)]
pub struct MountBpffsArgs {
    /// Where
    #[arg(value_name = "DIR", default_value = "/sys/fs/bpf")]
    pub directory: PathBuf,
}

/// Mounts a bpffs at the directory, unless there is one already.
///
/// # Errors
/// The directory is not there, or the kernel refuses: this takes `CAP_SYS_ADMIN`.
pub fn run(args: &MountBpffsArgs) -> Result<()> {
    let directory = &args.directory;
    let shown = directory.display();
    let filesystem = statfs(directory).with_context(|| format!("cannot look at {shown}"))?;
    if u64::try_from(filesystem.f_type).is_ok_and(|magic| magic == BPF_FS_MAGIC) {
        println!("{shown} is a bpffs already");
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", directory, "bpf", flags, c"mode=0700").with_context(|| {
        format!("cannot mount a bpffs at {shown}; this takes CAP_SYS_ADMIN in the node's own mount namespace")
    })?;
    println!("mounted a bpffs at {shown}");
    Ok(())
}
