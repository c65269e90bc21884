//! The thread that writes, so that a slow disk holds nothing up but itself.
//!
//! Everything that is handed over gets a number, and [`Writer::written`] says up to which number
//! all of it is in the files. Nobody waits for that who has other work: the rings keep what is not
//! written yet, see `pipeline/release.rs`.
//!
//! | the files | appends | until |
//! |---|---|---|
//! | have everything | are queued, in order | a write fails, or more than [`MAX_QUEUED`] bytes wait |
//! | have a gap | are dropped: nothing behind it could be read | a snapshot is handed over, which has everything |
//!
//! What waits is bounded in bytes, but for a single write that nothing waits before.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::snapshot::Snapshot;

/// A disk that takes longer for a write is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Bytes that may wait for a slow disk; some thousand kills.
pub(super) const MAX_QUEUED: usize = 4 << 20;
/// The thread copies and compares; it recurses nowhere.
const STACK: usize = 256 * 1024;

/// Where it is written to.
pub trait Disk: Send + 'static {
    /// Appends frames to the journal.
    ///
    /// # Errors
    /// They are not all there.
    fn append(&mut self, frames: &[u8]) -> io::Result<()>;

    /// Begins the next journal, behind a snapshot of everything before; returns the length of that.
    ///
    /// # Errors
    /// What was there before is there still.
    fn snapshot(&mut self, snapshot: &mut Snapshot) -> io::Result<u64>;
}

/// How writing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Everything that was handed over is in the files, or will be in a moment.
    #[default]
    Good,
    /// The disk is behind.
    Slow,
    /// Something is missing in the files; a snapshot may mend that.
    Failed(String),
}

/// The thread, from the outside.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    handed: Condvar,
    /// The thread has ended a task: up to which number everything is written.
    written: watch::Sender<u64>,
    ended: Condvar,
}

struct Queue {
    tasks: VecDeque<(u64, Task)>,
    /// Of the appends among them.
    bytes: usize,
    /// Number of the last that was handed over.
    handed: u64,
    at_work: bool,
    /// When the thread last began or ended a task.
    moved: Instant,
    /// Something up to that number is missing in the files.
    gap: Option<(u64, Gap)>,
    /// Number of the last snapshot that was handed over.
    snapshot: u64,
    /// Length of the last one that was written.
    snapshot_len: u64,
    stopped: bool,
}

/// What is asked of the thread.
enum Task {
    Append(Vec<u8>),
    Snapshot(Box<Snapshot>),
}

/// Why something that was handed over will not be written as it is.
#[derive(Clone, Debug)]
enum Gap {
    /// Too much waited already.
    Overrun,
    /// The disk did not take it.
    Failed(String),
}

impl Writer {
    /// Starts it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(disk: impl Disk) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new()),
            handed: Condvar::new(),
            written: watch::Sender::new(0),
            ended: Condvar::new(),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("state".to_owned())
                .stack_size(STACK)
                .spawn(move || shared.run(disk))?
        };
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Has frames appended to the journal; returns their number.
    pub fn append(&self, frames: Vec<u8>) -> u64 {
        let mut queue = self.shared.lock();
        let number = queue.number();
        let has_gap = queue
            .gap
            .as_ref()
            .is_some_and(|(at, _)| *at > queue.snapshot);
        if has_gap {
            return number;
        }
        if !queue.tasks.is_empty() && queue.bytes + frames.len() > MAX_QUEUED {
            queue.gap = Some((number, Gap::Overrun));
        } else {
            queue.bytes += frames.len();
            queue.push(number, Task::Append(frames));
            self.shared.handed.notify_one();
        }
        number
    }

    /// Has a snapshot written; the journal begins anew with what is appended from now on. Returns
    /// its number.
    pub fn snapshot(&self, snapshot: Snapshot) -> u64 {
        let mut queue = self.shared.lock();
        let number = queue.number();
        // It has everything that waits to be appended.
        queue.clear();
        queue.snapshot = number;
        queue.push(number, Task::Snapshot(Box::new(snapshot)));
        self.shared.handed.notify_one();
        number
    }

    /// Up to which number everything is in the files: changes with each task that ends, and is seen
    /// to change by one that fails, too.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.shared.written.subscribe()
    }

    /// Waits that long for everything up to that number; whether it is in the files.
    #[must_use]
    pub fn wait(&self, number: u64, within: Duration) -> bool {
        let is_written = || *self.shared.written.borrow() >= number;
        let queue = self.shared.lock();
        let busy = |queue: &mut Queue| !is_written() && !queue.is_idle();
        // Poisoned or not: nothing in there is left half changed.
        drop(self.shared.ended.wait_timeout_while(queue, within, busy));
        is_written()
    }

    /// How writing goes.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        let queue = self.shared.lock();
        let waits = now.saturating_duration_since(queue.moved) >= SLOW;
        match &queue.gap {
            Some((_, Gap::Failed(why))) => Health::Failed(why.clone()),
            Some((_, Gap::Overrun)) => Health::Slow,
            None if waits && !queue.is_idle() => Health::Slow,
            None => Health::Good,
        }
    }

    /// Whether the thread has nothing to do: one that hangs is given no more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.lock().is_idle()
    }

    /// Length of the last snapshot that was written.
    #[must_use]
    pub fn snapshot_len(&self) -> u64 {
        self.shared.lock().snapshot_len
    }
}

impl Drop for Writer {
    /// A thread that hangs on its disk is left to itself.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.stopped = true;
        let idle = queue.is_idle();
        drop(queue);
        self.shared.handed.notify_one();
        if idle && let Some(thread) = self.thread.take() {
            // It does not panic, and if it did there would be nothing to do about it.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn new() -> Self {
        Self {
            tasks: VecDeque::new(),
            bytes: 0,
            handed: 0,
            at_work: false,
            moved: Instant::now(),
            gap: None,
            snapshot: 0,
            snapshot_len: 0,
            stopped: false,
        }
    }

    fn is_idle(&self) -> bool {
        !self.at_work && self.tasks.is_empty()
    }

    /// The next number.
    fn number(&mut self) -> u64 {
        self.handed += 1;
        self.handed
    }

    fn push(&mut self, number: u64, task: Task) {
        if self.is_idle() {
            self.moved = Instant::now();
        }
        self.tasks.push_back((number, task));
    }

    fn clear(&mut self) {
        self.tasks.clear();
        self.bytes = 0;
    }

    fn take(&mut self) -> Option<(u64, Task)> {
        let (number, task) = self.tasks.pop_front()?;
        if let Task::Append(frames) = &task {
            self.bytes = self.bytes.saturating_sub(frames.len());
        }
        self.at_work = true;
        self.moved = Instant::now();
        Some((number, task))
    }

    /// A snapshot is written.
    fn mended(&mut self, number: u64, length: u64) {
        self.snapshot_len = length;
        self.gap.take_if(|(at, _)| *at < number);
    }

    /// A task has failed: what waits to be appended cannot be read behind the gap, unless there is a
    /// snapshot before it.
    fn failed(&mut self, why: String) {
        if !matches!(self.tasks.front(), Some((_, Task::Snapshot(_)))) {
            self.clear();
            self.gap = Some((self.handed, Gap::Failed(why)));
            self.snapshot = 0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut disk: impl Disk) {
        let mut queue = self.lock();
        loop {
            let Some((number, task)) = queue.take() else {
                if queue.stopped {
                    return;
                }
                let waiting = self.handed.wait(queue);
                queue = waiting.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            let result = match task {
                Task::Append(frames) => disk.append(&frames).map(|()| None),
                Task::Snapshot(mut snapshot) => disk.snapshot(&mut snapshot).map(Some),
            };
            queue = self.lock();
            queue.at_work = false;
            queue.moved = Instant::now();
            self.written.send_modify(|written| match result {
                Ok(length) => {
                    *written = number;
                    if let Some(length) = length {
                        queue.mended(number, length);
                    }
                }
                Err(error) => queue.failed(error.to_string()),
            });
            self.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
