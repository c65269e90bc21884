//! The thread that writes, so that a slow disk holds nothing up but itself.
//!
//! An append is handed over and waited for, since a ring item may be released only once its kill is
//! in the file. On a sound node that takes some ten microseconds: write(2) copies into the page
//! cache and no more. If it takes longer than [`PATIENCE`], the disk is slow or hangs, and until the
//! thread has caught up nobody waits for it any more; what it is handed meanwhile is bounded.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::files::Snapshot;

/// How long the ring waits for the disk.
pub const PATIENCE: Duration = Duration::from_millis(50);
/// Bytes that may wait for a slow disk; several hundred kills.
const MAX_QUEUED: usize = 1 << 20;
/// The thread copies and compares; it recurses nowhere.
const STACK: usize = 256 * 1024;

/// What the thread is asked to do.
enum Task {
    Append(Vec<u8>),
    Snapshot(Box<Snapshot>),
}

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
    /// Everything that was handed over is in the files.
    #[default]
    Good,
    /// The thread is behind.
    Slow,
    /// Something is missing in the files; a snapshot may mend that.
    Failed(String),
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    bytes: usize,
    handed: u64,
    done: u64,
    behind: bool,
    failed: Option<String>,
    /// Length of the last snapshot.
    snapshot_len: u64,
    stopped: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    handed: Condvar,
    done: Condvar,
}

/// The thread, from the outside.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
}

impl Writer {
    /// Starts it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(disk: impl Disk, patience: Duration) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
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
            patience,
        })
    }

    /// Appends frames to the journal, and waits until they are there or patience is over.
    pub fn append(&self, frames: Vec<u8>) {
        let mut queue = self.shared.lock();
        if queue.failed.is_some() {
            // There is a gap before them: nobody could read what comes after.
            return;
        }
        if queue.bytes + frames.len() > MAX_QUEUED {
            queue.failed = Some("the disk does not take what is to be written".to_owned());
            return;
        }
        queue.bytes += frames.len();
        self.hand_over(queue, Task::Append(frames), self.patience);
    }

    /// Writes a snapshot; the journal begins anew with what is appended from now on. Waits for that
    /// long.
    pub fn snapshot(&self, snapshot: Snapshot, within: Duration) {
        let mut queue = self.shared.lock();
        // It has everything that waits to be appended.
        queue.tasks.clear();
        queue.bytes = 0;
        queue.handed = queue.done + u64::from(queue.behind_one());
        queue.failed = None;
        self.hand_over(queue, Task::Snapshot(Box::new(snapshot)), within);
    }

    /// How writing goes.
    #[must_use]
    pub fn health(&self) -> Health {
        let queue = self.shared.lock();
        match &queue.failed {
            Some(why) => Health::Failed(why.clone()),
            None if queue.behind => Health::Slow,
            None => Health::Good,
        }
    }

    /// Length of the last snapshot that was written.
    #[must_use]
    pub fn snapshot_len(&self) -> u64 {
        self.shared.lock().snapshot_len
    }

    fn hand_over(&self, mut queue: MutexGuard<'_, Queue>, task: Task, patience: Duration) {
        queue.tasks.push_back(task);
        queue.handed += 1;
        let mine = queue.handed;
        self.shared.handed.notify_one();
        if queue.behind && patience <= self.patience {
            return;
        }
        let deadline = Instant::now() + patience;
        while queue.done < mine {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                queue.behind = true;
                return;
            }
            queue = self
                .shared
                .done
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Writer {
    /// A thread that hangs on its disk is left to itself.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.stopped = true;
        let idle = queue.done == queue.handed;
        drop(queue);
        self.shared.handed.notify_one();
        if idle && let Some(thread) = self.thread.take() {
            // It does not panic, and if it did there would be nothing to do about it.
            let _ = thread.join();
        }
    }
}

impl Queue {
    /// Whether the thread is at work on a task that is no longer in the queue.
    fn behind_one(&self) -> bool {
        self.handed - self.done > self.tasks.len() as u64
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut disk: impl Disk) {
        let mut queue = self.lock();
        loop {
            let Some(task) = queue.tasks.pop_front() else {
                if queue.stopped {
                    return;
                }
                queue = self
                    .handed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if let Task::Append(frames) = &task {
                queue.bytes = queue.bytes.saturating_sub(frames.len());
            }
            let skipped = queue.failed.is_some() && matches!(task, Task::Append(_));
            drop(queue);
            let result = match task {
                _ if skipped => Ok(None),
                Task::Append(frames) => disk.append(&frames).map(|()| None),
                Task::Snapshot(mut snapshot) => disk.snapshot(&mut snapshot).map(Some),
            };
            queue = self.lock();
            match result {
                Ok(None) => {}
                Ok(Some(length)) => queue.snapshot_len = length,
                Err(error) => queue.failed = Some(error.to_string()),
            }
            queue.done += 1;
            if queue.done == queue.handed {
                queue.behind = false;
            }
            self.done.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes each write when it is told to, and tells that it has one and what it took.
    struct Gated {
        began: Sender<()>,
        gate: Receiver<io::Result<()>>,
        took: Sender<String>,
    }

    impl Gated {
        fn take(&mut self, what: String) -> io::Result<()> {
            let _ = self.began.send(());
            let result = self.gate.recv().unwrap_or(Ok(()));
            // Nobody may listen any more.
            let _ = self.took.send(what);
            result
        }
    }

    impl Disk for Gated {
        fn append(&mut self, frames: &[u8]) -> io::Result<()> {
            self.take(String::from_utf8_lossy(frames).into_owned())
        }

        fn snapshot(&mut self, snapshot: &mut Snapshot) -> io::Result<u64> {
            let length = snapshot.frames.len() as u64;
            self.take(format!("snapshot of {length}")).map(|()| length)
        }
    }

    struct Test {
        writer: Writer,
        began: Receiver<()>,
        gate: Sender<io::Result<()>>,
        took: Receiver<String>,
    }

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    fn start(patience: Duration) -> Test {
        let (gate, gated) = channel();
        let (tell, took) = channel();
        let (begin, began) = channel();
        let disk = Gated {
            began: begin,
            gate: gated,
            took: tell,
        };
        Test {
            writer: Writer::start(disk, patience).unwrap(),
            began,
            gate,
            took,
        }
    }

    fn snapshot(length: usize) -> Snapshot {
        Snapshot {
            frames: vec![b'x'; length],
            pods: Vec::new(),
            gone: Vec::new(),
            history: Vec::new(),
            readings: None,
            sync: false,
        }
    }

    #[test]
    fn an_append_is_there_when_it_returns() {
        let test = start(LONG);
        test.gate.send(Ok(())).unwrap();
        test.writer.append(b"a".to_vec());
        assert_eq!(test.took.try_recv().unwrap(), "a");
        assert_eq!(test.writer.health(), Health::Good);
    }

    #[test]
    fn a_disk_that_hangs_is_waited_for_once_and_gets_everything_when_it_comes_back() {
        let patience = Duration::from_secs(1);
        let test = start(patience);
        test.writer.append(b"a".to_vec());
        assert_eq!(test.writer.health(), Health::Slow);
        let began = Instant::now();
        for _ in 0..100 {
            test.writer.append(b"b".to_vec());
        }
        let took = began.elapsed();
        assert!(took < 60 * patience, "each of them waits: {took:?}");
        for _ in 0..101 {
            test.gate.send(Ok(())).unwrap();
        }
        let took: Vec<_> = (0..101)
            .map(|_| test.took.recv_timeout(LONG).unwrap())
            .collect();
        assert_eq!((took[0].as_str(), took[100].as_str()), ("a", "b"));
    }

    #[test]
    fn what_waits_for_a_slow_disk_is_bounded() {
        let test = start(SHORT);
        let quarter = || vec![b'a'; MAX_QUEUED / 4];
        test.writer.append(quarter());
        // The first is on its way, four more fit.
        test.began.recv_timeout(LONG).unwrap();
        for _ in 0..4 {
            test.writer.append(quarter());
        }
        assert_eq!(test.writer.health(), Health::Slow);
        test.writer.append(b"b".to_vec());
        assert!(matches!(test.writer.health(), Health::Failed(_)));
    }

    #[test]
    fn nothing_is_appended_behind_a_gap_and_a_snapshot_mends_it() {
        let test = start(LONG);
        test.gate
            .send(Err(io::Error::other("No space left on device")))
            .unwrap();
        test.writer.append(b"a".to_vec());
        assert_eq!(
            test.writer.health(),
            Health::Failed("No space left on device".to_owned())
        );
        test.writer.append(b"b".to_vec());
        test.gate.send(Ok(())).unwrap();
        test.writer.snapshot(snapshot(3), LONG);
        assert_eq!(test.writer.health(), Health::Good);
        assert_eq!(test.writer.snapshot_len(), 3);
        let took: Vec<_> = test.took.try_iter().collect();
        assert_eq!(took, ["a", "snapshot of 3"]);
    }

    #[test]
    fn a_snapshot_makes_what_waits_superfluous() {
        let test = start(SHORT);
        test.writer.append(b"a".to_vec());
        test.began.recv_timeout(LONG).unwrap();
        for frame in ["b", "c"] {
            test.writer.append(frame.into());
        }
        test.writer.snapshot(snapshot(1), SHORT);
        test.writer.append(b"d".to_vec());
        for _ in 0..3 {
            test.gate.send(Ok(())).unwrap();
        }
        let took: Vec<_> = (0..3)
            .map(|_| test.took.recv_timeout(LONG).unwrap())
            .collect();
        assert_eq!(took, ["a", "snapshot of 1", "d"]);
    }
}
