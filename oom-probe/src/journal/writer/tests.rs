use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Takes each write when it is told to, and tells what it took.
struct Gated {
    gate: Receiver<io::Result<()>>,
    took: Sender<String>,
}

impl Gated {
    fn take(&mut self, what: String) -> io::Result<()> {
        let result = self.gate.recv().unwrap_or(Ok(()));
        // Nobody may listen any more.
        let _ = self.took.send(what);
        result
    }
}

impl Disk for Gated {
    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(frames);
        self.take(text.chars().take(1).collect())
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) -> io::Result<u64> {
        let length = snapshot.frames.len() as u64;
        self.take(format!("snapshot of {length}")).map(|()| length)
    }
}

struct Test {
    writer: Writer,
    gate: Sender<io::Result<()>>,
    took: Receiver<String>,
}

const LONG: Duration = Duration::from_secs(60);

fn start() -> Test {
    let (gate, gated) = channel();
    let (tell, took) = channel();
    let disk = Gated {
        gate: gated,
        took: tell,
    };
    Test {
        writer: Writer::start(disk).unwrap(),
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

impl Test {
    fn append(&self, frame: &str) -> u64 {
        self.writer.append(frame.into())
    }

    /// The thread is at work on what was handed over first.
    fn begun(&self) {
        let deadline = Instant::now() + LONG;
        while !self.writer.shared.lock().at_work {
            assert!(Instant::now() < deadline, "it never begins");
            thread::yield_now();
        }
    }

    /// The disk takes so many more tasks; what they were.
    fn takes(&self, count: usize) -> Vec<String> {
        for _ in 0..count {
            self.gate.send(Ok(())).unwrap();
        }
        (0..count)
            .map(|_| self.took.recv_timeout(LONG).unwrap())
            .collect()
    }

    /// The disk refuses the next task.
    fn refuses(&self) -> String {
        let full = io::Error::other("No space left on device");
        self.gate.send(Err(full)).unwrap();
        self.took.recv_timeout(LONG).unwrap()
    }

    fn health(&self) -> Health {
        self.writer.health(Instant::now())
    }

    fn written(&self) -> u64 {
        *self.writer.written().borrow()
    }

    /// Nothing is on its way any more.
    fn ended(&self) {
        let deadline = Instant::now() + LONG;
        while !self.writer.is_idle() {
            assert!(Instant::now() < deadline, "it never ends");
            thread::yield_now();
        }
    }
}

fn failed() -> Health {
    Health::Failed("No space left on device".to_owned())
}

#[test]
fn what_was_appended_is_written_once_the_disk_has_it() {
    let test = start();
    let [first, second] = ["a", "b"].map(|frame| test.append(frame));
    assert_eq!(test.written(), 0);
    assert_eq!(test.takes(1), ["a"]);
    assert!(test.writer.wait(first, LONG));
    assert!(!test.writer.wait(second, Duration::ZERO));
    assert_eq!(test.takes(1), ["b"]);
    assert!(test.writer.wait(second, LONG));
    assert_eq!(test.health(), Health::Good);
}

#[test]
fn a_disk_that_hangs_is_slow_and_gets_everything_when_it_comes_back() {
    let test = start();
    let last = [(); 100].map(|()| test.append("a"))[99];
    assert_eq!(test.health(), Health::Good);
    assert_eq!(test.writer.health(Instant::now() + LONG), Health::Slow);
    assert_eq!(test.takes(100).len(), 100);
    assert!(test.writer.wait(last, LONG));
    assert_eq!(test.writer.health(Instant::now() + LONG), Health::Good);
}

#[test]
fn a_write_of_any_length_is_taken_where_none_waits() {
    let test = start();
    let number = test.append(&"a".repeat(2 * MAX_QUEUED));
    assert_eq!(test.takes(1), ["a"]);
    assert!(test.writer.wait(number, LONG));
    assert_eq!(test.health(), Health::Good);
}

#[test]
fn what_waits_for_a_slow_disk_is_bounded() {
    let test = start();
    test.append("a");
    test.begun();
    for _ in 0..4 {
        test.append(&"b".repeat(MAX_QUEUED / 4));
    }
    assert_eq!(test.health(), Health::Good);
    let dropped = test.append("c");
    assert_eq!(test.health(), Health::Slow);
    // What came before is written all the same, what comes after is not.
    assert_eq!(test.takes(5), ["a", "b", "b", "b", "b"]);
    test.ended();
    test.append("d");
    assert!(test.writer.is_idle());
    assert_eq!(test.written(), dropped - 1);
    let mended = test.writer.snapshot(snapshot(3));
    assert_eq!(test.takes(1), ["snapshot of 3"]);
    assert!(test.writer.wait(mended, LONG));
    assert_eq!(test.health(), Health::Good);
}

#[test]
fn nothing_is_appended_behind_a_gap_and_a_snapshot_mends_it() {
    let test = start();
    test.append("a");
    test.begun();
    test.append("b");
    assert_eq!(test.refuses(), "a");
    test.ended();
    let number = test.append("c");
    assert_eq!((test.health(), test.written()), (failed(), 0));
    assert!(!test.writer.wait(number, LONG), "nobody waits for it");
    let mended = test.writer.snapshot(snapshot(3));
    // It is not mended before it is written, but what comes after is kept.
    let after = test.append("d");
    assert_eq!(test.health(), failed());
    assert_eq!(test.takes(2), ["snapshot of 3", "d"]);
    assert!(test.writer.wait(after, LONG));
    assert_eq!((test.health(), after), (Health::Good, mended + 1));
    assert_eq!(test.writer.snapshot_len(), 3);
}

#[test]
fn a_snapshot_makes_what_waits_superfluous_and_what_comes_during_it_waits() {
    let test = start();
    test.append("a");
    test.begun();
    test.append("b");
    let snapshot = test.writer.snapshot(snapshot(1));
    let after = test.append("c");
    assert_eq!(test.takes(1), ["a"]);
    test.begun();
    assert!(test.written() < snapshot);
    assert_eq!(test.takes(1), ["snapshot of 1"]);
    assert!(test.writer.wait(snapshot, LONG));
    assert!(!test.writer.wait(after, Duration::ZERO), "it is not there");
    assert_eq!(test.takes(1), ["c"]);
    assert!(test.writer.wait(after, LONG));
}

#[test]
fn a_write_that_fails_before_a_snapshot_leaves_no_gap() {
    let test = start();
    test.append("a");
    test.begun();
    let snapshot = test.writer.snapshot(snapshot(1));
    let after = test.append("b");
    assert_eq!(test.refuses(), "a");
    assert_eq!(test.takes(2), ["snapshot of 1", "b"]);
    assert!(test.writer.wait(after, LONG));
    assert_eq!((test.health(), after), (Health::Good, snapshot + 1));
}

#[test]
fn a_snapshot_that_fails_is_mended_by_the_next() {
    let test = start();
    test.writer.snapshot(snapshot(1));
    test.begun();
    test.append("a");
    assert_eq!(test.refuses(), "snapshot of 1");
    test.ended();
    assert_eq!((test.health(), test.written()), (failed(), 0));
    let last = test.writer.snapshot(snapshot(2));
    assert_eq!(test.takes(1), ["snapshot of 2"]);
    assert!(test.writer.wait(last, LONG));
    assert_eq!(test.health(), Health::Good);
}

#[test]
fn whoever_watches_is_told_of_a_failure_too() {
    let test = start();
    let mut written = test.writer.written();
    test.append("a");
    test.refuses();
    test.ended();
    assert!(written.has_changed().unwrap());
    assert_eq!(*written.borrow_and_update(), 0);
}
