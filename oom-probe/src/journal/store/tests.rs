//! The state on a disk of every mood.

use std::sync::{Arc, Condvar, Mutex};

use proptest::prelude::*;

use super::*;
use crate::journal::{
    entry::{self, Header, VERSION},
    frame::Frames,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// How the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    Hangs,
    Full,
}

/// What is on the disk: a snapshot, and a journal behind it.
#[derive(Debug)]
struct Stored {
    mood: Mood,
    snapshot: Vec<u8>,
    journal: Vec<u8>,
    snapshots: usize,
}

#[derive(Clone)]
struct TestDisk(Arc<(Mutex<Stored>, Condvar)>);

impl TestDisk {
    fn new() -> Self {
        let stored = Stored {
            mood: Mood::Good,
            snapshot: Vec::new(),
            journal: Vec::new(),
            snapshots: 0,
        };
        Self(Arc::new((Mutex::new(stored), Condvar::new())))
    }

    fn set(&self, mood: Mood) {
        let (stored, changed) = &*self.0;
        stored.lock().unwrap().mood = mood;
        changed.notify_all();
    }

    fn mood(&self) -> Mood {
        self.0.0.lock().unwrap().mood
    }

    fn snapshots(&self) -> usize {
        self.0.0.lock().unwrap().snapshots
    }

    /// Waits while it hangs.
    fn with(&self, write: impl FnOnce(&mut Stored)) -> io::Result<()> {
        let (stored, changed) = &*self.0;
        let hangs = |stored: &mut Stored| stored.mood == Mood::Hangs;
        let stored = stored.lock().unwrap();
        let mut stored = changed.wait_while(stored, hangs).unwrap();
        if stored.mood == Mood::Full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        write(&mut stored);
        Ok(())
    }

    /// The numbers that the next daemon would read.
    fn read(&self) -> Vec<u64> {
        let stored = self.0.0.lock().unwrap();
        let mut read = Vec::new();
        for bytes in [&stored.snapshot, &stored.journal] {
            let mut frames = Frames::new(&bytes[..]);
            while let Some(frame) = frames.next().unwrap() {
                for entry in entry::entries(frame).unwrap() {
                    if let Entry::Dropped(number) = entry {
                        read.push(number);
                    }
                }
            }
        }
        read
    }
}

impl Disk for TestDisk {
    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        self.with(|stored| stored.journal.extend_from_slice(frames))
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) -> io::Result<u64> {
        self.with(|stored| {
            stored.snapshot.clone_from(&snapshot.frames);
            stored.journal.clear();
            stored.snapshots += 1;
        })?;
        Ok(snapshot.frames.len() as u64)
    }
}

/// A daemon that counts 1, 2, 3 …, each with a commit of its own.
struct Test {
    disk: TestDisk,
    state: Store,
    now: Instant,
    counted: u64,
    /// Which commit each number went with.
    commits: Vec<u64>,
}

impl Test {
    fn new() -> Self {
        let disk = TestDisk::new();
        let now = Instant::now();
        let state = Store::start(Path::new("/state"), disk.clone(), now).unwrap();
        let mut test = Self {
            disk,
            state,
            now,
            counted: 0,
            commits: Vec::new(),
        };
        assert!(test.state.snapshot_now(test.snapshot(), now));
        test
    }

    fn snapshot(&self) -> Snapshot {
        let mut frames = Vec::new();
        for number in 1..=self.counted {
            push(&mut frames, &[Entry::Dropped(number)]);
        }
        Snapshot {
            frames,
            pods: Vec::new(),
            gone: Vec::new(),
            history: Vec::new(),
            readings: None,
            sync: false,
        }
    }

    /// Counts once, as long as a kill is in the journal or much longer.
    fn count(&mut self, length: usize) {
        self.counted += 1;
        self.state.add(&Entry::Dropped(self.counted));
        let padding = serde_json::value::to_raw_value(&"x".repeat(length)).unwrap();
        self.state.add(&Entry::History(&padding));
        self.state.commit();
        self.commits.push(self.state.handed());
        // The time of a test is not the disk's.
        if self.disk.mood() != Mood::Hangs {
            self.ends();
        }
        self.tick();
    }

    fn tick(&mut self) {
        if self.state.wants_snapshot(self.now) {
            self.state.snapshot(self.snapshot(), self.now);
        }
    }

    /// Waits for whatever is on its way, unless the disk hangs.
    fn ends(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.state.writer.is_idle() {
            assert!(Instant::now() < deadline, "it never ends");
            std::thread::yield_now();
        }
    }

    /// Time passes, and whatever has asked for that moment gets it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.state.next_tick(self.now).filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.tick();
            self.ends();
            if self.state.next_tick(self.now) == Some(next) {
                break;
            }
        }
        self.now = end;
    }

    /// Whatever is said to be written can be read, each once and in order.
    fn holds_what_it_says(&self) {
        let written = *self.state.written().borrow();
        let said = self.commits.iter().filter(|commit| **commit <= written);
        let said = said.count() as u64;
        let read = self.disk.read();
        let expected: Vec<u64> = (1..=read.len() as u64).collect();
        assert_eq!(read, expected, "each once");
        assert!(read.len() as u64 >= said, "{} of {said}", read.len());
    }
}

#[test]
fn snapshots_go_on_whatever_the_disk_was_like_before() {
    let moods = [Mood::Hangs, Mood::Full, Mood::Hangs, Mood::Good, Mood::Full];
    let mut test = Test::new();
    for mood in moods {
        test.disk.set(mood);
        for _ in 0..20 {
            test.count(MANY);
        }
        test.holds_what_it_says();
        test.disk.set(Mood::Good);
        test.ends();
        test.pass(2 * RETRY);
        test.ends();
        assert_eq!(test.disk.read().len() as u64, test.counted, "{mood:?}");
        assert_eq!(*test.state.written().borrow(), test.state.handed());
        let before = test.disk.snapshots();
        for _ in 0..20 {
            test.count(MANY);
            test.ends();
            test.pass(SNAPSHOT_EVERY);
        }
        let snapshots = test.disk.snapshots() - before;
        assert!(snapshots > 0, "none any more, after {mood:?}");
        test.holds_what_it_says();
    }
}

/// Bytes; a few of them are worth a snapshot, and more than may wait.
const MANY: usize = 300 << 10;

#[test]
fn a_disk_that_stays_full_is_tried_every_10_s() {
    let mut test = Test::new();
    test.disk.set(Mood::Full);
    test.count(1);
    test.ends();
    assert_eq!(test.state.next_tick(test.now), Some(test.now + RETRY));
    test.pass(RETRY);
    assert_eq!(test.state.next_tick(test.now), Some(test.now + RETRY));
    test.disk.set(Mood::Good);
    test.pass(RETRY);
    assert_eq!(test.state.next_tick(test.now), None);
    assert_eq!(test.disk.read(), [1]);
}

#[test]
fn a_thread_that_hangs_is_given_no_more() {
    let mut test = Test::new();
    test.disk.set(Mood::Hangs);
    for _ in 0..100 {
        test.count(MANY);
        test.pass(2 * SNAPSHOT_EVERY);
    }
    assert_eq!(test.state.next_tick(test.now), None);
    test.disk.set(Mood::Good);
    test.ends();
    test.holds_what_it_says();
    test.pass(SNAPSHOT_EVERY);
    test.ends();
    assert_eq!(test.disk.read().len() as u64, test.counted);
}

#[test]
fn what_is_too_long_for_a_frame_is_several() {
    let mut test = Test::new();
    let padding = serde_json::value::to_raw_value(&"x".repeat(3 << 20)).unwrap();
    for number in 1..=9 {
        test.state.add(&Entry::Dropped(number));
        test.state.add(&Entry::History(&padding));
    }
    test.state.commit();
    assert!(test.state.writer.wait(test.state.handed(), PATIENCE));
    assert_eq!(test.disk.read(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_journal_of_any_length_is_read_at_the_start() {
    // More than 64 MiB.
    const LONG: u64 = 65;
    let directory = tempfile::tempdir().unwrap();
    let mut files = Files::open(directory.path(), "boot").unwrap();
    files.read();
    let test = Test::new();
    files.snapshot(&mut test.snapshot()).unwrap();
    let padding = serde_json::value::to_raw_value(&"x".repeat(1 << 20)).unwrap();
    for number in 1..=LONG {
        let mut frames = Vec::new();
        let entries = [Entry::Dropped(number), Entry::History(&padding)];
        push(&mut frames, &entries);
        files.append(&frames).unwrap();
    }
    drop(files);
    let found = Files::open(directory.path(), "boot").unwrap().read();
    assert!(found.trouble.is_none(), "{:?}", found.trouble);
    let header = Header {
        version: VERSION,
        boot: "boot".to_owned(),
        generation: 1,
    };
    assert_eq!(found.files[1].header, header);
    let mut frames = found.files[1].frames().unwrap();
    let mut count = 0;
    while frames.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, LONG);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_said_to_be_written_can_be_read(
        steps in prop::collection::vec(
            (prop_oneof![Just(Mood::Good), Just(Mood::Hangs), Just(Mood::Full)], 0..40_usize, 0..15_u64),
            1..12,
        )
    ) {
        let mut test = Test::new();
        for (mood, counts, seconds) in steps {
            test.disk.set(mood);
            for _ in 0..counts {
                test.count(16 << 10);
            }
            if mood != Mood::Hangs {
                test.ends();
            }
            test.holds_what_it_says();
            test.now += Duration::from_secs(seconds);
            test.tick();
        }
        test.disk.set(Mood::Good);
        test.ends();
        test.pass(3 * RETRY);
        test.ends();
        prop_assert_eq!(test.disk.read().len() as u64, test.counted);
    }
}
