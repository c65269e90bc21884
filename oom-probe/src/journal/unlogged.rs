//! Lines of the kill log that are not known to be written: the next daemon writes them again.
//!
//! So each kill is logged at least once, whenever this one is killed: a line is handed over when
//! its record goes to the journal, and the journal is told when it is written.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::watch;

/// The lines that wait, as many as [`crate::sinks::log::output`] takes.
#[derive(Debug)]
pub(super) struct Lines {
    /// Their records as JSON, the oldest first.
    waiting: VecDeque<Bytes>,
    /// How many are written since the start.
    done: watch::Receiver<u64>,
    taken: u64,
}

impl Lines {
    /// None waits; `done` counts them.
    pub(super) fn new(done: watch::Receiver<u64>) -> Self {
        Self {
            waiting: VecDeque::new(),
            done,
            taken: 0,
        }
    }

    /// One more waits.
    pub(super) fn add(&mut self, record: Bytes) {
        self.waiting.push_back(record);
    }

    /// How many of the oldest wait no more since the last time.
    pub(super) fn take_done(&mut self) -> u64 {
        let done = *self.done.borrow();
        let new = done.saturating_sub(self.taken);
        self.taken = done;
        let new = self.waiting.len().min(new as usize);
        self.waiting.drain(..new);
        new as u64
    }

    /// Those that wait, the oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Bytes> {
        self.waiting.iter()
    }

    /// Changes when [`Lines::take_done`] has something to say.
    pub(super) fn done(&self) -> watch::Receiver<u64> {
        self.done.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_until_it_is_written() {
        let (written, done) = watch::channel(0);
        let mut lines = Lines::new(done);
        for record in ["1", "2", "3"] {
            lines.add(record.into());
        }
        assert_eq!(lines.take_done(), 0);
        written.send_replace(2);
        assert_eq!((lines.take_done(), lines.take_done()), (2, 0));
        assert_eq!(lines.waiting().collect::<Vec<_>>(), ["3"]);
        written.send_replace(3);
        assert_eq!((lines.take_done(), lines.waiting().count()), (1, 0));
    }
}
