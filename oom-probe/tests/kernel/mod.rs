//! The kernel's own files, and what is decided from them: recorded from real kernels, and broken.

mod builder;
mod doctor;
mod formats;
mod layout;
mod malformed;
mod obstacles;
mod plan;
mod reader;
pub(crate) mod recorded;
