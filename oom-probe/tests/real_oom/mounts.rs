//! Mounts that nobody else sees and that are gone with this process, however it ends.

use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::io;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

const TRACEFS: &str = "/sys/kernel/tracing";

/// Gives this process a mount namespace whose mounts go nowhere, with a tracefs in it: not every
/// machine has one mounted, and the lowest rung of the hook ladder needs it.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn own_namespace() -> io::Result<()> {
    private_namespace()?;
    if fs::read_dir(TRACEFS).is_ok_and(|mut entries| entries.next().is_none()) {
        match mount(c"tracefs", Path::new(TRACEFS), None) {
            // It is there, and lockdown shows nothing of it.
            Err(io::Errno::BUSY) => {}
            mounted => mounted?,
        }
    }
    Ok(())
}

/// Neither allocates nor takes a lock, so that it may run between fork and exec.
pub(crate) fn private_namespace() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS leaves the table of file descriptors as it is.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    rustix::mount::mount_change(
        c"/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )
}

/// A file system on a directory, unmounted on drop.
pub(crate) struct Mount {
    at: PathBuf,
}

impl Mount {
    pub(crate) fn new(kind: &CStr, at: &Path, options: Option<&CStr>) -> Self {
        mount(kind, at, options).unwrap();
        Self { at: at.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    pub(crate) fn make_read_only(&self) {
        rustix::mount::mount_remount(&self.at, MountFlags::RDONLY, c"").unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = rustix::mount::unmount(&self.at, UnmountFlags::DETACH) {
            eprintln!("umount {}: {error}", self.at.display());
        }
    }
}

fn mount(kind: &CStr, at: &Path, options: Option<&CStr>) -> io::Result<()> {
    rustix::mount::mount(kind, at, kind, MountFlags::empty(), options)
}
