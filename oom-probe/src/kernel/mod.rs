//! Everything that knows the kernel: its types, its hooks, and what they send.

pub mod books;
pub mod btf;
pub mod checkpoint;
pub mod complete;
pub mod decode;
pub mod encode;
pub mod facts;
#[cfg(test)]
pub(crate) mod fixture;
pub mod format;
pub mod layout;
pub mod ledger;
pub mod load;
pub mod names;
pub mod pin;
pub mod plan;
pub mod proc;
pub mod referee;
pub mod ring;
pub mod takeover;
pub mod trial;
pub mod witness;
