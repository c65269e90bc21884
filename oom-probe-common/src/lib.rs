//! The record ABI between oom-probe's kernel programs and its daemon.
//!
//! The kernel side writes [`record`]s into a ring buffer and counts what it does in the
//! [`ledger`]; the user side hands over the [`offsets`] of the running kernel's structures before
//! the programs load. Everything here is `#[repr(C)]` with explicit padding and asserted sizes,
//! since a pinned program and the daemon that reads its ring may come from different builds:
//! whatever changes a layout or a meaning raises [`ABI_VERSION`].

#![no_std]

pub mod ledger;
pub mod offsets;
pub mod record;

/// Version of everything in this crate, carried by every record.
pub const ABI_VERSION: u16 = 2;

/// Name of the ring buffer map.
pub const RING_MAP: &str = "RING";
/// Name of the ledger map, an mmap-able array of `u64` indexed by [`ledger::Count`] and
/// [`ledger::Slot`].
pub const LEDGER_MAP: &str = "LEDGER";
/// Name of the read-only global that holds [`offsets::Offsets`].
pub const OFFSETS_GLOBAL: &str = "OFFSETS";
/// Name of the read-only global that holds [`offsets::Settings`].
pub const SETTINGS_GLOBAL: &str = "SETTINGS";
