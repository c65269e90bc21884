//! What survives a restart, under `--state-dir`: a snapshot, and a journal of what came after it.
//!
//! Every ring item's consequences are appended to the journal, as one frame and by one write(2),
//! before the item is released and before anybody can see a counter that has grown. Nothing is
//! synced to the disk for that: a daemon that is killed leaves its writes in the page cache, and
//! with the machine the ring is lost too. When the journal has grown as long as the snapshot (and
//! `SNAPSHOT_FROM` at least), not more than once a second, and at exit, a new snapshot takes its
//! place. So what is written stays within a small multiple of what happens, and a quiet node writes
//! nothing.
//!
//! At the start entries are replayed through the same modules that made them: see
//! `pipeline/restore.rs`. Writing is a thread's own business (`writer.rs`), so that no disk holds up
//! the ring for more than a moment.

pub mod entry;
pub mod files;
pub mod frame;
pub mod readings;
pub mod whole;
pub mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use entry::Entry;
use files::{Files, Found, Snapshot};
use writer::{Health, PATIENCE, Writer};

/// The default of `--state-dir`.
pub const STATE_DIR: &str = "/var/lib/oom-probe";
/// A journal shorter than this is not worth a snapshot.
const SNAPSHOT_FROM: u64 = 256 << 10;
/// Snapshots are at least this far apart.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// When a state that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How long an old daemon on its way out may keep the directory.
const LOCKED: Duration = Duration::from_secs(2);
/// How long the first snapshot and the last may take.
const EXIT: Duration = Duration::from_secs(2);

/// The state of this daemon, as far as its one loop is concerned.
pub struct State {
    directory: PathBuf,
    writer: Writer,
    /// Entries that belong into one frame.
    batch: Vec<u8>,
    frame: Vec<u8>,
    /// Bytes in the journal since the last snapshot.
    journal_len: u64,
    snapshot_at: Instant,
    told: Health,
}

impl State {
    /// Takes a directory and reads what is in it. Waits a moment for a daemon that is about to end.
    ///
    /// # Errors
    /// The directory cannot be had; one line that names it.
    pub fn open(directory: &Path, boot: &str, now: Instant) -> Result<(Self, Found), io::Error> {
        let named = |error: io::Error| {
            let line = format!("{}: {error}", directory.display());
            io::Error::new(error.kind(), line)
        };
        let mut files = loop {
            match Files::open(directory, boot) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && now.elapsed() < LOCKED =>
                {
                    thread::sleep(Duration::from_millis(20));
                }
                other => break other.map_err(named)?,
            }
        };
        let found = files.read();
        let state = Self {
            directory: directory.to_owned(),
            writer: Writer::start(files, PATIENCE).map_err(named)?,
            batch: Vec::new(),
            frame: Vec::new(),
            journal_len: 0,
            snapshot_at: now,
            told: Health::Good,
        };
        Ok((state, found))
    }

    /// Adds an entry to the frame that the next [`State::commit`] writes.
    pub fn add(&mut self, entry: &Entry<'_>) {
        self.batch
            .push(if self.batch.is_empty() { b'[' } else { b',' });
        let length = self.batch.len();
        if let Err(error) = serde_json::to_writer(&mut self.batch, entry) {
            self.batch.truncate(length - 1);
            tracing::error!("an entry of the state cannot be written as JSON: {error}");
        }
    }

    /// Whether entries wait for [`State::commit`].
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Writes the entries that were added, as one frame.
    pub fn commit(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.batch.push(b']');
        self.frame.clear();
        frame::push(&mut self.frame, &self.batch);
        self.batch.clear();
        self.journal_len += self.frame.len() as u64;
        self.writer.append(self.frame.clone());
    }

    /// Whether it is time for a snapshot; says what there is to say about how writing goes.
    pub fn wants_snapshot(&mut self, now: Instant) -> bool {
        let health = self.writer.health();
        self.tell(&health);
        let since = now.saturating_duration_since(self.snapshot_at);
        match health {
            Health::Failed(_) => since >= RETRY,
            Health::Slow => false,
            Health::Good => {
                let enough = self.writer.snapshot_len().max(SNAPSHOT_FROM);
                self.journal_len >= enough && since >= SNAPSHOT_EVERY
            }
        }
    }

    /// Writes a snapshot, in its own time. It has what was added and not committed.
    pub fn snapshot(&mut self, snapshot: Snapshot, now: Instant) {
        self.take(snapshot, now, Duration::ZERO);
    }

    /// Writes a snapshot, and says whether it is written.
    pub fn snapshot_now(&mut self, snapshot: Snapshot, now: Instant) -> bool {
        self.take(snapshot, now, EXIT);
        let health = self.writer.health();
        self.tell(&health);
        health == Health::Good
    }

    fn take(&mut self, snapshot: Snapshot, now: Instant, within: Duration) {
        self.batch.clear();
        self.journal_len = 0;
        self.snapshot_at = now;
        self.writer.snapshot(snapshot, within);
    }

    /// Each change once.
    fn tell(&mut self, health: &Health) {
        if *health == self.told {
            return;
        }
        let directory = self.directory.display();
        match (health, &self.told) {
            // Why it fails may differ each time.
            (Health::Failed(_), Health::Failed(_)) => {}
            (Health::Failed(why), _) => tracing::warn!(
                "the state cannot be written ({why}): kills are captured as before, but what was \
                 counted since will be forgotten if this daemon ends before {directory} can be \
                 written again"
            ),
            (Health::Slow, _) => tracing::warn!(
                "the disk under {directory} is slow: kills go on without waiting for it"
            ),
            (Health::Good, _) => tracing::info!("the state is written again: {directory}"),
        }
        self.told = health.clone();
    }
}

/// A frame with one entry, for a snapshot.
pub fn push(frames: &mut Vec<u8>, entries: &[Entry<'_>]) {
    match serde_json::to_vec(entries) {
        Ok(payload) => frame::push(frames, &payload),
        Err(error) => tracing::error!("an entry of the state cannot be written as JSON: {error}"),
    }
}
