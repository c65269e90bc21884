//! The file systems of the machine.

use std::ffi::CString;
use std::fs;
use std::io;

/// What PID 1 cannot do without.
pub(crate) fn basic() -> Result<(), String> {
    mount("proc", "/proc", "proc", "")?;
    mount("sysfs", "/sys", "sysfs", "")?;
    mount("devtmpfs", "/dev", "devtmpfs", "")
}

/// Everything else; a kernel may lack some of it, so what fails is told and passed over.
pub(crate) fn rest() -> Vec<String> {
    let all = [
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("tmpfs", "/dev/shm"),
        ("tracefs", "/sys/kernel/tracing"),
        ("securityfs", "/sys/kernel/security"),
        ("bpf", "/sys/fs/bpf"),
    ];
    all.into_iter()
        .filter_map(|(kind, at)| mount(kind, at, kind, "").err())
        .collect()
}

/// Mounts a file system, making the directory if it is not there.
pub(crate) fn mount(source: &str, at: &str, kind: &str, options: &str) -> Result<(), String> {
    let told = |error: io::Error| format!("mount {kind} on {at}: {error}");
    // Directories of sysfs exist or cannot be made: mount says which.
    let _ = fs::create_dir_all(at);
    let text = |s: &str| CString::new(s).map_err(|e| told(e.into()));
    let (source, target, fs_type, data) = (text(source)?, text(at)?, text(kind)?, text(options)?);
    // SAFETY: four C strings that live until the call returns; the kernel copies what it needs.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            fs_type.as_ptr(),
            0,
            data.as_ptr().cast(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(told(io::Error::last_os_error()))
    }
}
