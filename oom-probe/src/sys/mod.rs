//! The machine underneath: files, rights, clocks, text.

pub mod allocator;
pub mod escape;
pub mod mount_bpffs;
pub mod oom_score_adj;
pub mod privileges;
pub mod procfs;
