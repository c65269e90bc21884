//! What the files of the state consist of.
//!
//! A snapshot is the shortest journal that leads to the same state: both have the same entries.
//! Every frame is a JSON list of entries that happened together.

use std::{
    io::{self, Read},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    frame::{End, Frames},
    series::{StoredContainer, StoredWorkload},
    whole::{Hidden, Whole},
    window::StoredWindow,
};
use crate::{
    attribution::outcome,
    capture::{
        assemble::{Killed, Remembered},
        handover::resumed::Position,
        ring::RingState,
    },
    cgroup::oom_counters::Readings,
    kube::pod::Pod,
    model::{
        kill::{Kill, Record},
        labels::{Attribution, Limit, Outcome, Role, Scope},
        pod::PodUid,
    },
};

/// Version of the files. A daemon reads its own and those before it.
pub const VERSION: u32 = 2;
/// The first: its entries are those of version 2 without lines of the log and windows of Events.
const FIRST: u32 = 1;

/// What begins each file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`] of who wrote it.
    pub version: u32,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// Which snapshot it is, or which one the journal follows.
    pub generation: u64,
}

/// One thing that happened, or that is so.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry<'a> {
    /// A process was killed: what is counted at once, whosever it is.
    Kill(Counted),
    /// A kill became a record.
    #[serde(borrow)]
    Record(StoredRecord<'a>),
    /// A kill waits for its pod.
    Parked(Box<Whole<Kill>>),
    /// A kill of a time without a daemon waits for a scrape.
    Deferred {
        /// The kill.
        kill: Box<Whole<Kill>>,
        /// It is the first of its event.
        opens_event: bool,
    },
    /// The ring had no room for records of so many kills.
    Dropped(u64),
    /// It is known what became of a container.
    Settled {
        /// Which event and container.
        key: outcome::Key,
        /// What became of it.
        outcome: Outcome,
    },
    /// A pod is new, or has changed.
    Pod(Arc<Pod>),
    /// A pod of that UID is gone, for so many seconds.
    Gone(PodUid, u64),
    /// Counts that only grow, as of now.
    Node(Box<Node>),
    /// Totals by label; in snapshots only, as all that follow.
    Totals(Totals),
    /// The counts of a container.
    Container(StoredContainer),
    /// The counts of a workload.
    Workload(StoredWorkload),
    /// What the assembler remembers of a process.
    Seen(Remembered),
    /// A kill that is counted, though the next daemon will find its record in the ring.
    InRing(Counted),
    /// An OOM event whose outcome is not known.
    Pending {
        /// The container's first victim.
        #[serde(borrow)]
        record: Box<StoredRecord<'a>>,
        /// Processes of the container that were killed until then.
        kills: u32,
        /// When the last of them was.
        last_victim: Timestamp,
    },
    /// One whose outcome is known, so that further victims do not count again.
    Recent(outcome::Key),
    /// A kill record of the history.
    #[serde(borrow)]
    History(&'a RawValue),
    /// How long a container waits for its next Kubernetes Event.
    EventWindow(Box<StoredWindow>),
    /// The oldest lines that waited to be written are, so many of them.
    Logged(u64),
    /// A kill record whose line waits to be written; in snapshots only.
    #[serde(borrow)]
    Unlogged(&'a RawValue),
    /// What the cgroups' own counters said.
    Readings(Readings),
    /// A snapshot ends: without it some is missing.
    End,
}

impl Entry<'_> {
    /// A kill that waits for a scrape.
    #[must_use]
    pub fn deferred(killed: &Killed) -> Self {
        Self::Deferred {
            kill: Box::new(Whole(killed.kill.clone())),
            opens_event: killed.opens_event,
        }
    }
}

/// What is counted of a kill when it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Whose it is.
    pub scope: Scope,
    /// Which limit was hit.
    pub limit: Limit,
    /// How it came to be killed.
    pub role: Role,
    /// When, if it is the first of its OOM event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Timestamp>,
    /// The process.
    pub process: Remembered,
    /// The ring that was read when it was told, and how far.
    pub ring: u32,
    /// See `ring`.
    pub read: u64,
}

/// A record as it is shown, and what it does not show.
#[derive(Serialize, Deserialize)]
pub struct StoredRecord<'a> {
    /// The record.
    #[serde(borrow)]
    pub record: &'a RawValue,
    /// See `record`.
    pub hidden: Hidden,
    /// Its line waits to be written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_line: bool,
}

/// Counts that only grow, and how far the rings have been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The rings; the one that is written to is the last.
    pub rings: Vec<RingState>,
    /// `oom_probe_records_received_total`.
    pub received: u64,
    /// `oom_probe_records_rejected_total`.
    pub rejected: u64,
    /// `oom_probe_exiting_marks_total`.
    pub exiting: u64,
    /// `oom_probe_drained_kills_total`.
    pub drained: u64,
    /// `oom_probe_series_refused_total`.
    pub refused: u64,
    /// Kills whose records were dropped, of those that the ledger tells.
    pub dropped_marks: u64,
    /// `oom_probe_kernel_marks_total`, and how much of it the ledger has.
    pub marks: Based,
    /// `oom_probe_records_dropped_total`, and how much of it the ledger has.
    pub dropped: Based,
}

impl Counted {
    /// Where its ring had been read when it was told.
    #[must_use]
    pub fn position(&self) -> Position {
        let Self { ring, read, .. } = *self;
        Position { ring, read }
    }
}

impl Node {
    /// Whether the rings were read up to the same positions.
    #[must_use]
    pub fn has_read_as(&self, other: &Self) -> bool {
        let read = |ring: &RingState| (ring.id, ring.read);
        let rings = self.rings.iter().map(read);
        rings.eq(other.rings.iter().map(read))
    }

    /// Whether it is about that ring.
    #[must_use]
    pub fn has_ring(&self, id: u32) -> bool {
        self.rings.iter().any(|ring| ring.id == id)
    }
}

/// A count that goes on where an earlier one ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Based {
    /// Of earlier times.
    pub base: u64,
    /// Of the ledger that is there now.
    pub now: u64,
}

impl Based {
    /// As of now.
    #[must_use]
    pub const fn with(self, now: u64) -> Self {
        Self { now, ..self }
    }

    /// For going on from 0.
    #[must_use]
    pub const fn ended(self) -> Self {
        Self {
            base: self.total(),
            now: 0,
        }
    }

    /// Both together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.base.saturating_add(self.now)
    }
}

/// What the kernel counted in all, over restarts and reboots.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelTotals {
    /// Marks.
    pub marks: Based,
    /// Records that the ring had no room for.
    pub dropped: Based,
}

/// The node's totals by label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// `oom_probe_kills_total`.
    pub kills: Vec<(Scope, Limit, Role, u64)>,
    /// `oom_probe_oom_events_total`.
    pub oom_events: Vec<(Limit, u64)>,
    /// `oom_probe_last_oom_event_timestamp_seconds`.
    pub last_oom_events: Vec<(Limit, f64)>,
    /// `oom_probe_attributions_total`.
    pub attributions: Vec<(Attribution, u64)>,
}

impl StoredRecord<'_> {
    /// The record, with what it does not show.
    ///
    /// # Errors
    /// It is no record.
    pub fn restore(self) -> serde_json::Result<Record> {
        let mut record: Record = serde_json::from_str(self.record.get())?;
        self.hidden.restore(&mut record.kill);
        Ok(record)
    }
}

/// Why a file of the state cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It was written by a later version.
    #[error("it is of version {0}, and this oom-probe reads up to version {VERSION}")]
    Version(u32),
    /// Checksums or content are wrong.
    #[error("it is damaged")]
    Corrupt,
    /// It does not end where it was meant to.
    #[error("its end is missing")]
    Incomplete,
    /// The disk does not give it.
    #[error("it cannot be read: {0}")]
    Failed(String),
}

/// Reads the header of a file; with the frames that follow.
///
/// # Errors
/// It is no file of this version.
pub fn open<R: Read>(reader: R) -> Result<(Header, Frames<R>), Unreadable> {
    let mut frames = Frames::new(reader);
    let Some(frame) = frames.next()? else {
        return Err(match frames.end() {
            End::Corrupt => Unreadable::Corrupt,
            End::Whole | End::Torn => Unreadable::Incomplete,
        });
    };
    // Another version's header may have other fields.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_slice(frame).map_err(|_| Unreadable::Corrupt)?;
    if !(FIRST..=VERSION).contains(&version) {
        return Err(Unreadable::Version(version));
    }
    let header = serde_json::from_slice(frame).map_err(|_| Unreadable::Corrupt)?;
    Ok((header, frames))
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The entries of a frame.
///
/// # Errors
/// They are none.
pub fn entries(frame: &[u8]) -> Result<Vec<Entry<'_>>, Unreadable> {
    serde_json::from_slice(frame).map_err(|_| Unreadable::Corrupt)
}

/// Reads a whole file as the daemon does, and says how many entries it has: for fuzzing.
///
/// # Errors
/// It is no file of this version, or damaged.
pub fn check(bytes: &[u8]) -> Result<usize, Unreadable> {
    let (_, mut frames) = open(bytes)?;
    let mut count = 0;
    while let Some(frame) = frames.next()? {
        for entry in entries(frame)? {
            if let Entry::Record(record) = entry {
                record.restore().map_err(|_| Unreadable::Corrupt)?;
            }
            count += 1;
        }
    }
    match frames.end() {
        End::Whole => Ok(count),
        End::Torn => Err(Unreadable::Incomplete),
        End::Corrupt => Err(Unreadable::Corrupt),
    }
}
