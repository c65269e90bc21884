//! The kernel side of a kill: hooks, ring, records, and the kills made of them.

pub mod reader;
pub mod load;
pub mod pin;
pub mod handover;
pub mod accounting;
pub mod assemble;
pub mod enrich;
pub mod record;
pub mod ring;
pub mod plan;
pub mod trial;
pub mod environment;
pub mod layout;
pub mod btf;

#[cfg(test)]
pub(crate) mod fixture;
