//! What user space writes into `.rodata` before the programs load.
//!
//! Single fields are read, never the whole struct: the verifier then sees constants, prunes what
//! this kernel does not have, and the 512 bytes of stack stay free.

use oom_probe_common::offsets::{Offsets, Settings};

#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::ABSENT;

#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = Settings {
    whole_signals: 0,
    names: 1,
    tracepoint_pid: oom_probe_common::offsets::ABSENT,
    signal_sig: oom_probe_common::offsets::ABSENT,
    signal_code: oom_probe_common::offsets::ABSENT,
    signal_pid: oom_probe_common::offsets::ABSENT,
    probe_reads: 0,
    version: oom_probe_common::ABI_VERSION as u32,
    generation: 0,
};

/// The offset of that name, as a constant of the verifier.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: an aligned field of a static; volatile since user space changes the value
        // between compilation and load.
        unsafe { core::ptr::read_volatile(&raw const $crate::globals::OFFSETS.$field) }
    };
}

/// The setting of that name, as a constant of the verifier.
macro_rules! setting {
    ($field:ident) => {
        // SAFETY: as for `offset!`.
        unsafe { core::ptr::read_volatile(&raw const $crate::globals::SETTINGS.$field) }
    };
}

pub(crate) use {offset, setting};
