//! Lines for a descriptor that may be slow, blocked, full or closed.
//!
//! A thread writes, a bounded queue feeds it, and what finds no room is dropped and counted: nobody
//! who logs ever waits. Diagnostics on standard error can take the same way.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rustix::thread::CapabilitySet;
use tokio::sync::watch;
use tokio::time::timeout;

use capture::sys::privileges;

/// Lines that may wait to be written: those of a ring of the default size, full of kills. Some 2 MiB
/// where nobody reads them.
const QUEUE: usize = 2048;
/// The name of the thread that writes.
pub(crate) const THREAD: &str = "output";
/// The writer needs no more than a few frames.
const STACK: usize = 64 * 1024;
/// Pause before trying again where somebody made the descriptor non-blocking.
const RETRY: Duration = Duration::from_millis(10);

/// Takes lines, never waits. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Output {
    queue: SyncSender<Item>,
    dropped: Counter,
    /// Lines that were queued so far.
    queued: Arc<AtomicU64>,
    /// Those that were dealt with.
    done: watch::Sender<u64>,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Output {
    /// Standard output; `dropped` counts the lines that it did not take.
    ///
    /// # Errors
    /// When there is no descriptor or no thread to be had, or it cannot give up its capabilities.
    pub fn stdout(dropped: Counter) -> io::Result<Self> {
        Self::descriptor(io::stdout(), dropped)
    }

    /// Standard error; `dropped` counts the lines that it did not take.
    ///
    /// # Errors
    /// When there is no descriptor or no thread to be had, or it cannot give up its capabilities.
    pub fn stderr(dropped: Counter) -> io::Result<Self> {
        Self::descriptor(io::stderr(), dropped)
    }

    /// Past the standard library's own buffer, which would keep what could not be written.
    fn descriptor(stream: impl AsFd, dropped: Counter) -> io::Result<Self> {
        let descriptor: OwnedFd = stream.as_fd().try_clone_to_owned()?;
        Self::start(File::from(descriptor), dropped)
    }

    /// Starts a thread that writes to `sink`.
    ///
    /// # Errors
    /// When no thread is to be had, or it cannot give up its capabilities.
    pub fn start(sink: impl Write + Send + 'static, dropped: Counter) -> io::Result<Self> {
        // It may be started before the daemon gives up its own.
        Self::start_with(sink, dropped, || {
            privileges::keep_only(CapabilitySet::empty())
        })
    }

    /// The same with a thread that begins with `give_up`.
    fn start_with(
        sink: impl Write + Send + 'static,
        dropped: Counter,
        give_up: fn() -> io::Result<()>,
    ) -> io::Result<Self> {
        let (queue, items) = sync_channel(QUEUE);
        let (begun, has_begun) = sync_channel(1);
        let lost = dropped.clone();
        let done = watch::Sender::new(0);
        let told = done.clone();
        thread::Builder::new()
            .name(THREAD.into())
            .stack_size(STACK)
            .spawn(move || {
                let given_up = give_up();
                let may_write = given_up.is_ok();
                // Whoever started it waits for this.
                if begun.send(given_up).is_ok() && may_write {
                    write_all(&items, sink, &lost, &told);
                }
            })?;
        has_begun.recv().map_err(io::Error::other)??;
        Ok(Self {
            queue,
            dropped,
            queued: Arc::default(),
            done,
        })
    }

    /// Queues a line, its end included, or drops it; whether it was queued.
    pub fn push(&self, line: Vec<u8>) -> bool {
        let is_queued = self.queue.try_send(Item::Line(line)).is_ok();
        if is_queued {
            self.queued.fetch_add(1, Ordering::Relaxed);
        } else {
            self.dropped.inc();
        }
        is_queued
    }

    /// Waits until what was queued is written; not longer than `at_most`, and not at all where the
    /// queue is full.
    pub fn finish(&self, at_most: Duration) {
        let (done, flushed) = sync_channel(1);
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            // Whatever was not written by then is lost with the process.
            let _ = flushed.recv_timeout(at_most);
        }
    }

    /// Up to which line everything is written, or could not be: lines are counted from 1.
    #[must_use]
    pub fn done(&self) -> watch::Receiver<u64> {
        self.done.subscribe()
    }

    /// Waits until every line so far is written; not longer than `at_most`.
    pub async fn flush(&self, at_most: Duration) {
        let queued = self.queued.load(Ordering::Relaxed);
        let mut done = self.done();
        let done = done.wait_for(|done| *done >= queued);
        // Whatever was not written by then is lost with the process, or left to the next daemon.
        let _ = timeout(at_most, done).await;
    }
}

/// One call is one line, as tracing's formatter makes them.
impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(
    items: &Receiver<Item>,
    mut sink: impl Write,
    dropped: &Counter,
    done: &watch::Sender<u64>,
) {
    let mut torn = false;
    let mut reported = dropped.get();
    for item in items {
        let line = match item {
            Item::Line(line) => line,
            Item::Flush(done) => {
                // Who asked may have stopped waiting.
                let _ = done.try_send(());
                continue;
            }
        };
        // A line that was cut short must not run into the next one.
        let separator: &[u8] = if torn { b"\n" } else { b"" };
        match write(&mut sink, separator).and_then(|()| write(&mut sink, &line)) {
            Ok(()) => {
                torn = false;
                let lost = dropped.get();
                if lost > reported {
                    tracing::warn!(
                        "{} log lines were dropped: too slow a reader",
                        lost - reported
                    );
                    reported = lost;
                }
            }
            Err(error) => {
                dropped.inc();
                if !torn {
                    tracing::warn!("log lines are being dropped: cannot write them: {error}");
                }
                torn = true;
            }
        }
        done.send_modify(|done| *done += 1);
    }
}

fn write(sink: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeWriter, Read};
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn piped() -> (io::PipeReader, Output, Counter) {
        let (reader, writer): (_, PipeWriter) = io::pipe().unwrap();
        let dropped = Counter::default();
        let output = Output::start(writer, dropped.clone()).unwrap();
        (reader, output, dropped)
    }

    #[test]
    fn a_thread_that_keeps_its_capabilities_writes_nothing_and_ends_the_start() {
        let (mut reader, writer) = io::pipe().unwrap();
        let refuse = || Err(io::ErrorKind::PermissionDenied.into());
        let started = Output::start_with(writer, Counter::default(), refuse);
        assert_eq!(started.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let mut written = Vec::new();
        reader.read_to_end(&mut written).unwrap();
        assert!(written.is_empty());
    }

    #[test]
    fn lines_come_in_order() {
        let (reader, output, dropped) = piped();
        for number in 0..100 {
            output.push(format!("{number}\n").into_bytes());
        }
        output.finish(PATIENCE);
        drop(output);
        let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(lines, expected);
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn a_reader_that_never_reads_costs_lines_and_nothing_else() {
        let (mut reader, output, dropped) = piped();
        let begun = Instant::now();
        const LINES: u64 = 4000;
        for _ in 0..LINES {
            output.push(vec![b'x'; 1000]);
        }
        assert!(begun.elapsed() < PATIENCE);
        // A pipe takes 64 KiB, the queue its lines, the writer holds one.
        let at_least = LINES - QUEUE as u64 - 66;
        assert!(
            (at_least..LINES).contains(&dropped.get()),
            "{}",
            dropped.get()
        );

        let lost = dropped.get();
        drop(output);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(
            bytes.len() as u64,
            (LINES - lost) * 1000,
            "each line counts once"
        );
    }

    #[test]
    fn finish_does_not_wait_for_a_reader_that_never_reads() {
        let (_reader, output, _) = piped();
        for _ in 0..100 {
            output.push(vec![b'x'; 1000]);
        }
        let begun = Instant::now();
        output.finish(Duration::from_millis(50));
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn a_closed_pipe_drops_and_counts_every_line() {
        let (reader, output, dropped) = piped();
        drop(reader);
        for _ in 0..10 {
            output.push(b"line\n".to_vec());
        }
        output.finish(PATIENCE);
        assert_eq!(dropped.get(), 10);
    }

    #[test]
    fn a_full_device_drops_and_counts_every_line() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let dropped = Counter::default();
        let output = Output::start(full, dropped.clone()).unwrap();
        for _ in 0..10 {
            output.push(b"line\n".to_vec());
        }
        output.finish(PATIENCE);
        assert_eq!(dropped.get(), 10);
    }

    /// Takes half of the second line, then nothing of the third, then everything.
    struct Moody {
        writes: usize,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Moody {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            let count = match self.writes {
                2 => bytes.len() / 2,
                3 | 4 => return Err(io::ErrorKind::StorageFull.into()),
                6 => return Err(io::ErrorKind::WouldBlock.into()),
                _ => bytes.len(),
            };
            self.taken.lock().unwrap().extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_short_does_not_run_into_the_next() {
        let taken = Arc::default();
        let sink = Moody {
            writes: 0,
            taken: Arc::clone(&taken),
        };
        let dropped = Counter::default();
        let output = Output::start(sink, dropped.clone()).unwrap();
        for line in ["first\n", "second\n", "third\n", "fourth\n"] {
            output.push(line.into());
        }
        output.finish(PATIENCE);
        let taken = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        assert_eq!(taken, "first\nsec\nfourth\n");
        assert_eq!(dropped.get(), 2);
    }
}
