//! The ledger: what the kernel programs count, whether or not a record gets through, and the few
//! numbers that they and the daemons, one after another, have to agree on.

/// Index into the ledger map. Each is a `u64` that only grows while the map lives.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// `mark_victim` fired.
    Marks = 0,
    /// `signal_generate` fired for a SIGKILL that the kernel itself sent (`SEND_SIG_PRIV`).
    Signals = 1,
    /// `oom_kill_process` was entered.
    Begins = 2,
    /// `oom_kill_process` returned.
    Ends = 3,
    /// Records that the ring took.
    Submitted = 4,
    /// Mark records that the ring had no room for.
    DroppedMarks = 5,
    /// Signal records that the ring had no room for.
    DroppedSignals = 6,
    /// Begin and End records that the ring had no room for.
    DroppedContext = 7,
}

impl Count {
    /// Every count, in index order.
    pub const ALL: [Self; 8] = [
        Self::Marks,
        Self::Signals,
        Self::Begins,
        Self::Ends,
        Self::Submitted,
        Self::DroppedMarks,
        Self::DroppedSignals,
        Self::DroppedContext,
    ];
}

/// Index into the ledger map of what is no count. The counts have the first 32 places.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// [`LAYOUT`], once a daemon has set the ledger up.
    Layout = 32,
    /// Those programs record whose [`Settings`](crate::offsets::Settings) have this generation;
    /// all others return at once. So one store replaces all programs by others.
    Generation = 33,
    /// `mm_struct` of the last victim marked, by which the signal hook knows the processes that
    /// share it.
    LastMarkMm = 34,
    /// Thread group and thread that had it marked.
    LastMarkCurrent = 35,
    /// `oom_kill` of `/proc/vmstat` when the counts began, at least.
    BaselineFrom = 36,
    /// The same, at most.
    BaselineTo = 37,
    /// The first of [`CHECKPOINTS`] times [`CHECKPOINT_LEN`] numbers of the daemon's own.
    Checkpoints = 40,
}

/// Entries of the ledger map.
pub const ENTRIES: u32 = 64;

/// Meaning of the ledger's entries and of what is pinned beside it. Another one is not shared with.
pub const LAYOUT: u64 = 1;

/// How many checkpoints there are: a torn one leaves another.
pub const CHECKPOINTS: usize = 2;

/// Numbers in a checkpoint.
pub const CHECKPOINT_LEN: usize = 8;

const _: () =
    assert!(Slot::Checkpoints as usize + CHECKPOINTS * CHECKPOINT_LEN <= ENTRIES as usize);
