//! The journal's files, as far as the daemon's one loop is concerned: what is handed to the thread
//! that writes them, and what of it is written.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    entry::Entry,
    files::{Files, Found},
    frame,
    snapshot::Snapshot,
    writer::{Disk, Health, Writer},
};

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
/// A frame that is as long as this takes no more entries: far more than what is read at once makes,
/// and far less than what can be read again.
const FULL_FRAME: usize = frame::MAX_FRAME / 4;

/// The state of this daemon, as far as its one loop is concerned.
pub struct Store {
    directory: PathBuf,
    writer: Writer,
    written: watch::Receiver<u64>,
    /// Entries of the frame that is not full yet.
    batch: Vec<u8>,
    /// Those that are.
    frames: Vec<u8>,
    /// Number of what was handed to the writer last.
    handed: u64,
    /// Bytes in the journal since the last snapshot.
    journal_len: u64,
    snapshot: u64,
    snapshot_at: Instant,
    told: Health,
}

impl Store {
    /// Takes a directory and reads what is in it. Waits a moment for a daemon that is about to end.
    ///
    /// # Errors
    /// The directory cannot be had; one line that names it.
    pub async fn open(
        directory: &Path,
        boot: &str,
        now: Instant,
    ) -> Result<(Self, Found), io::Error> {
        let named = |error: io::Error| {
            let line = format!("{}: {error}", directory.display());
            io::Error::new(error.kind(), line)
        };
        let mut files = loop {
            match Files::open(directory, boot) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && now.elapsed() < LOCKED =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => break other.map_err(named)?,
            }
        };
        let found = files.read();
        let state = Self::start(directory, files, now).map_err(named)?;
        Ok((state, found))
    }

    fn start(directory: &Path, disk: impl Disk, now: Instant) -> io::Result<Self> {
        let writer = Writer::start(disk)?;
        Ok(Self {
            directory: directory.to_owned(),
            written: writer.written(),
            writer,
            batch: Vec::new(),
            frames: Vec::new(),
            handed: 0,
            journal_len: 0,
            snapshot: 0,
            snapshot_at: now,
            told: Health::Good,
        })
    }

    /// Adds an entry to what the next [`Store::commit`] writes.
    pub fn add(&mut self, entry: &Entry<'_>) {
        self.batch
            .push(if self.batch.is_empty() { b'[' } else { b',' });
        let length = self.batch.len();
        if let Err(error) = serde_json::to_writer(&mut self.batch, entry) {
            self.batch.truncate(length - 1);
            tracing::error!("an entry of the state cannot be written as JSON: {error}");
        }
        if self.batch.len() >= FULL_FRAME {
            self.end_frame();
        }
    }

    /// Whether entries wait for [`Store::commit`].
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.batch.is_empty() || !self.frames.is_empty()
    }

    /// Has the entries written that were added: as one frame, so that all of them are there or none.
    /// What cannot be one frame is several.
    pub fn commit(&mut self) {
        self.end_frame();
        if !self.frames.is_empty() {
            let frames = std::mem::take(&mut self.frames);
            self.journal_len += frames.len() as u64;
            self.handed = self.writer.append(frames);
        }
    }

    fn end_frame(&mut self) {
        if !self.batch.is_empty() {
            self.batch.push(b']');
            frame::push(&mut self.frames, &self.batch);
            self.batch.clear();
        }
    }

    /// Number of the last commit or snapshot.
    #[must_use]
    pub fn handed(&self) -> u64 {
        self.handed
    }

    /// Up to which number everything is in the files. It changes with whatever the writer ends.
    #[must_use]
    pub fn written(&self) -> &watch::Receiver<u64> {
        &self.written
    }

    /// The same, and the number of the last commit, where that is about to be written.
    #[must_use]
    pub fn unwritten(&self, now: Instant) -> Option<(watch::Receiver<u64>, u64)> {
        let is_coming =
            *self.written.borrow() < self.handed && self.writer.health(now) == Health::Good;
        is_coming.then(|| (self.written.clone(), self.handed))
    }

    /// Whether it is time for a snapshot; says what there is to say about how writing goes.
    pub fn wants_snapshot(&mut self, now: Instant) -> bool {
        let health = self.writer.health(now);
        self.tell(&health);
        let is_written = *self.written.borrow() >= self.snapshot;
        let enough = self.writer.snapshot_len().max(SNAPSHOT_FROM);
        let is_time = now >= self.snapshot_at + Self::pause(&health);
        is_time
            && match health {
                Health::Good => is_written && self.journal_len >= enough,
                Health::Slow | Health::Failed(_) => self.has_gap(),
            }
    }

    /// When there is something to be tried again, though nothing happens.
    #[must_use]
    pub fn next_tick(&self, now: Instant) -> Option<Instant> {
        let pause = Self::pause(&self.writer.health(now));
        self.has_gap().then(|| self.snapshot_at + pause)
    }

    /// Whether something is missing in the files, and nothing on its way to them.
    fn has_gap(&self) -> bool {
        self.writer.is_idle() && *self.written.borrow() < self.handed
    }

    fn pause(health: &Health) -> Duration {
        match health {
            Health::Good | Health::Slow => SNAPSHOT_EVERY,
            Health::Failed(_) => RETRY,
        }
    }

    /// Has a snapshot written. It has what was added and not committed.
    pub fn snapshot(&mut self, snapshot: Snapshot, now: Instant) {
        self.batch.clear();
        self.frames.clear();
        self.journal_len = 0;
        self.snapshot_at = now;
        self.handed = self.writer.snapshot(snapshot);
        self.snapshot = self.handed;
    }

    /// Writes a snapshot, and says whether it is written.
    pub fn snapshot_now(&mut self, snapshot: Snapshot, now: Instant) -> bool {
        self.snapshot(snapshot, now);
        let is_written = self.writer.wait(self.handed, EXIT);
        let health = self.writer.health(Instant::now());
        self.tell(&health);
        is_written
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
                "the disk under {directory} is slow: kills that it has not taken stay in the ring, as \
                 long as there is room"
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

#[cfg(test)]
mod tests;
