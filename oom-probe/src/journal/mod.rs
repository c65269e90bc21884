//! What survives a restart, under `--state-dir`: a snapshot, and a journal of what came after it.
//!
//! Every ring item's consequences are appended to the journal, before the rings release the item.
//! Nothing is synced to the disk for that: a daemon that is killed leaves its writes in the page
//! cache, and with the machine the ring is lost too. When the journal has grown as long as the
//! snapshot (and `SNAPSHOT_FROM` at least), not more than once a second, and at exit, a new snapshot
//! takes its place. So what is written stays within a small multiple of what happens, and a quiet
//! node writes nothing.
//!
//! At the start entries are replayed through the same modules that made them: see
//! `pipeline/replay.rs`. Writing is a thread's own business (`writer.rs`), so that no disk holds up
//! anything: whatever is handed over has a number, and [`Journal::written`] says which are written.

pub mod store;
pub mod writer;
pub mod files;
pub mod entry;
pub mod series;
pub mod window;
pub mod whole;
pub mod frame;
mod unlogged;
pub mod snapshot;

use std::time::Instant;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::{
    attribution::{change::Change, outcome::Key},
    capture::assemble::Killed,
    model::kill::Record,
    sys::clock::Now,
};
use entry::{Entry, Node, StoredRecord};
use snapshot::Snapshot;
use store::Store;
use unlogged::Lines;
use whole::{Hidden, Whole};
use window::StoredWindow;

/// The default of `--state-dir`.
pub const STATE_DIR: &str = "/var/lib/oom-probe";

/// What becomes of a record when it is shown.
#[derive(Clone, Debug)]
pub struct Published {
    /// The record as JSON.
    pub json: Bytes,
    /// Its line waits to be written.
    pub has_line: bool,
}

/// Keeps what happens for the next daemon. Without a directory nothing is kept.
pub struct Journal {
    store: Option<Store>,
    unlogged: Lines,
    /// What the files say of counts and rings.
    node: Node,
}

impl Journal {
    /// Keeps nothing yet. `logged` counts the lines of the log that are written.
    #[must_use]
    pub fn new(logged: watch::Receiver<u64>) -> Self {
        Self {
            store: None,
            unlogged: Lines::new(logged),
            node: Node::default(),
        }
    }

    /// Keeps it there from now on.
    pub fn open(&mut self, store: Store) {
        self.store = Some(store);
    }

    /// Whether anything is kept.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.store.is_some()
    }

    /// Takes something that happened, for the next [`Journal::commit`].
    pub fn append(&mut self, entry: &Entry<'_>) {
        if let Some(store) = &mut self.store {
            store.add(entry);
        }
    }

    /// Takes a kill that waits for a scrape.
    pub fn append_deferred(&mut self, killed: &Killed) {
        if self.store.is_some() {
            self.append(&Entry::deferred(killed));
        }
    }

    /// Takes a change, and what became of it where it is a record.
    pub fn append_change(&mut self, change: &Change, published: Option<Published>) {
        let Some(store) = &mut self.store else {
            return;
        };
        match change {
            Change::PodSeen { pod, is_news: true } => store.add(&Entry::Pod(pod.clone())),
            Change::PodSeen { .. } => {}
            Change::PodGone(pod) => store.add(&Entry::Gone(pod.uid, 0)),
            Change::Pending(kill) => store.add(&Entry::Parked(Box::new(Whole((**kill).clone())))),
            // Replaying the record brings it again.
            Change::Settled {
                by_record: true, ..
            } => {}
            Change::Settled { settled, .. } => {
                if let Some(key) = Key::of(&settled.kill) {
                    let outcome = settled.outcome;
                    store.add(&Entry::Settled { key, outcome });
                }
            }
            Change::Complete(record) => {
                if let Some(published) = published {
                    self.append_record(record, published);
                }
            }
        }
    }

    fn append_record(&mut self, record: &Record, Published { json, has_line }: Published) {
        if let Ok(record_json) = serde_json::from_slice::<&RawValue>(&json) {
            self.append(&Entry::Record(StoredRecord {
                record: record_json,
                hidden: Hidden::of(&record.kill),
                has_line,
            }));
        }
        if has_line {
            self.unlogged.add(json);
        }
    }

    /// Has written down what happened, with where that leaves rings and counts. To be called before
    /// the rings release what it came from. True if the files know of that state of the rings now.
    pub fn commit(&mut self, windows: Vec<StoredWindow>, node: Node) -> bool {
        let Some(store) = &mut self.store else {
            return false;
        };
        for window in windows {
            store.add(&Entry::EventWindow(Box::new(window)));
        }
        let logged = self.unlogged.take_done();
        if logged > 0 {
            store.add(&Entry::Logged(logged));
        }
        // What the rings have released they say themselves.
        if !store.is_pending() && node.has_read_as(&self.node) {
            return false;
        }
        if node != self.node {
            self.node.clone_from(&node);
            store.add(&Entry::Node(Box::new(node)));
        }
        store.commit();
        true
    }

    /// A line that the last daemon may not have written waits to be written again.
    pub fn line_again(&mut self, json: Bytes) {
        self.unlogged.add(json);
    }

    /// The records whose lines wait to be written, the oldest first: those that are written are left
    /// out from now on.
    pub fn unlogged(&mut self) -> impl Iterator<Item = &Bytes> {
        self.unlogged.take_done();
        self.unlogged.waiting()
    }

    /// Whether it is time for a snapshot; says what there is to say about how writing goes.
    pub fn wants_snapshot(&mut self, now: &Now) -> bool {
        let store = self.store.as_mut();
        store.is_some_and(|store| store.wants_snapshot(now.instant))
    }

    /// Has a snapshot written. It has what was appended and not committed.
    pub fn snapshot(&mut self, snapshot: Snapshot, now: &Now) {
        if let Some(store) = &mut self.store {
            store.snapshot(snapshot, now.instant);
        }
    }

    /// Writes a snapshot, and says whether it is written.
    pub fn snapshot_now(&mut self, snapshot: Snapshot, now: &Now) -> bool {
        let store = self.store.as_mut();
        store.is_some_and(|store| store.snapshot_now(snapshot, now.instant))
    }

    /// Number of the last commit or snapshot.
    #[must_use]
    pub fn handed(&self) -> u64 {
        self.store.as_ref().map_or(0, Store::handed)
    }

    /// Whether everything up to that number is in the files, as far as anything is kept.
    #[must_use]
    pub fn has_written(&self, number: u64) -> bool {
        let store = self.store.as_ref();
        store.is_none_or(|store| *store.written().borrow() >= number)
    }

    /// Up to which number everything is in the files. None where nothing is kept.
    #[must_use]
    pub fn written(&self) -> Option<watch::Receiver<u64>> {
        Some(self.store.as_ref()?.written().clone())
    }

    /// The same, and up to where it is to be for everything to survive this process, where it is
    /// about to be: not on a disk that does not take it.
    #[must_use]
    pub fn unwritten(&self, now: &Now) -> Option<(watch::Receiver<u64>, u64)> {
        self.store.as_ref()?.unwritten(now.instant)
    }

    /// How many lines of the log are written: [`Journal::commit`] is to be called. None where
    /// nothing is kept.
    #[must_use]
    pub fn logged(&self) -> Option<watch::Receiver<u64>> {
        self.store.as_ref().map(|_| self.unlogged.done())
    }

    /// When there is something to be tried again, though nothing happens.
    #[must_use]
    pub fn next_tick(&self, now: &Now) -> Option<Instant> {
        self.store.as_ref()?.next_tick(now.instant)
    }
}
