//! The machine underneath: files, rights, clocks, text.

pub mod allocator;
pub mod clock;
pub mod escape;
pub mod oom_score_adj;
pub mod privileges;
pub mod procfs;
pub mod repeats;

/// What the kernel calls this host.
#[must_use]
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}
