//! Mounts that nobody else sees and that are gone with this process, however it ends.

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

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

/// A mount namespace whose mounts go nowhere. Only for a process with one thread, whose root and
/// working directory are its own.
pub(crate) fn private_namespace() -> io::Result<()> {
    unshare()?;
    match private("/".as_ref()) {
        // In a plain chroot "/" is no mount, and the one that it lies in may be shared.
        Err(io::Errno::INVAL) => private_namespace_of_chroot(),
        done => done,
    }
}

/// Neither allocates nor takes a lock, so that it may run between fork and exec.
pub(crate) fn unshare() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS leaves the table of file descriptors as it is.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

fn private(at: &Path) -> io::Result<()> {
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change(at, private)
}

/// By way of the namespace of PID 1, whose root is a mount, and back into the chroot.
fn private_namespace_of_chroot() -> io::Result<()> {
    let here = std::env::current_dir().map_err(|_| io::Errno::NOENT)?;
    let open = |path: &str, flags| rustix::fs::open(path, flags, Mode::empty());
    let root = open("/", OFlags::PATH)?;
    let namespace = open("/proc/1/ns/mnt", OFlags::RDONLY)?;
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
    // Read from outside, the link has the whole path.
    let link = format!("/proc/self/fd/{}", root.as_raw_fd());
    let root = fs::read_link(link).map_err(|_| io::Errno::NOENT)?;
    unshare()?;
    private("/".as_ref())?;
    rustix::process::chroot(&root)?;
    rustix::process::chdir(&here)
}

/// Shows the PID namespace that this process is in, in a mount namespace of its own. May run between
/// fork and exec, as the above.
pub(crate) fn own_proc() -> io::Result<()> {
    private_namespace()?;
    rustix::mount::mount(c"proc", c"/proc", c"proc", MountFlags::empty(), None)
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
