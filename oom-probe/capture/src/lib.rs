//! Every OOM kill of a Linux machine, from the kernel itself, as an ordered stream of kills and
//! exact counts.
//!
//! The modules are layers: each uses only those listed below it.

pub mod reader; // The stream of kills: what the rings hold, and what was lost of it.
pub mod load; // Loads and attaches the kernel programs, or takes over those that run.
pub mod pin; // What stays while no process runs.
pub mod handover; // Since when this process captures, and what one before it had counted.
pub mod accounting; // What is known of kills, against the counts of the kernel.
pub mod assemble; // From records to kills and OOM events.
pub mod enrich; // What the kernel programs could not tell, from user space.
pub mod record; // One record, decoded.
pub mod ring; // The ring buffers, read so that nothing leaves them too early.
pub mod plan; // Which hooks follow from what the kernel offers.
pub mod trial; // Whether a kernel takes a program.
pub mod environment; // What this kernel and this process offer.
pub mod layout; // Where the fields of the kernel's structures are.
pub mod btf; // A reader of the kernel's types.
pub mod cgroup; // Paths of cgroups, and the files of the memory controller.
pub mod model; // Kills, identities, labels.
pub mod sys; // The machine: files, rights, clocks, text.

#[cfg(feature = "prometheus-client")]
#[doc(hidden)]
pub use prometheus_client;

#[cfg(test)]
pub(crate) mod fixture;
