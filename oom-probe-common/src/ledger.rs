//! What the kernel programs count, whether or not a record gets through.

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

    /// Entries of the ledger map: room for counts that later builds add.
    pub const CAPACITY: u32 = 32;
}
