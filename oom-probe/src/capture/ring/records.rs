//! The records of all rings, as one stream.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::buffer::{Item, Ring, RingState};

/// How long programs that were replaced may take for their last record. A run that had begun before
/// goes on to its end, with preemption off and for some microseconds (kernel/trace/bpf_trace.c); a
/// virtual machine may be stopped in the middle of it.
const LAST_RECORD: Duration = Duration::from_secs(1);

/// The records of all rings in the order in which they were written: those of programs that were
/// replaced first.
pub struct Records {
    left: VecDeque<Ring>,
    live: Ring,
    /// Until when those that are left may still be written to; `None` once that is over.
    written_until: Option<Instant>,
}

impl Records {
    /// `left` are the rings of programs that begin nothing more from `now` on, oldest first.
    #[must_use]
    pub fn new(left: Vec<Ring>, live: Ring, now: Instant) -> Self {
        Self {
            left: left.into(),
            live,
            written_until: Some(now + LAST_RECORD),
        }
    }

    /// Leaves out the records of replaced programs that are not complete though their time is over;
    /// returns how many.
    pub fn give_up(&mut self, now: Instant) -> u64 {
        if self.written_until.is_some_and(|until| now < until) {
            return 0;
        }
        self.written_until = None;
        let unfinished = self.left.iter_mut().map(Ring::skip_unfinished);
        unfinished.map(u64::from).sum()
    }

    /// Whether the next record is one of replaced programs that is still being written: others wait
    /// behind it, since it came before them.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        let first = self.left.iter().find(|ring| ring.unread() > 0);
        first.is_some_and(Ring::is_unfinished)
    }

    /// The next record, if one is complete. It stays in its ring.
    #[expect(
        clippy::should_implement_trait,
        reason = "the record borrows from the ring"
    )]
    pub fn next(&mut self) -> Option<Item<'_>> {
        let ring = match self.left.iter().position(|ring| ring.unread() > 0) {
            Some(at) => &mut self.left[at],
            None => &mut self.live,
        };
        ring.next()
    }

    /// How far each ring has been read; the live one is the last.
    pub fn states(&self) -> impl Iterator<Item = RingState> {
        let left = self.left.iter().map(Ring::state);
        left.chain([self.live.state()])
    }

    /// Bytes that were written and not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.left.iter().map(Ring::unread).sum::<usize>() + self.live.unread()
    }

    /// Nothing that was read so far is needed any more, once it is released.
    pub fn settle(&mut self) {
        self.left.iter_mut().for_each(Ring::settle);
        self.live.settle();
    }

    /// Lets the kernel write over everything up to the last [`Records::settle`]. To be called once
    /// what followed from those records is where it will survive this process.
    pub fn release(&mut self) {
        self.left.iter_mut().for_each(Ring::release);
        if self.written_until.is_none() {
            self.left
                .retain(|ring| ring.unread() > 0 || ring.kept() > 0);
        }
        self.live.release();
    }

    /// Up to where the first ring that is not done with would be released.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.left.front().unwrap_or(&self.live).settled() as u64
    }

    /// Whether rings of programs that were replaced are still to be read and released.
    #[must_use]
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Whether records of programs that were replaced wait to be read.
    #[must_use]
    pub fn has_left_records(&self) -> bool {
        self.left.iter().any(|ring| ring.unread() > 0)
    }

    /// Bytes that were read and are still needed.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.left.iter().map(Ring::unsettled).sum::<usize>() + self.live.unsettled()
    }

    /// Whether the next [`Records::release`] makes room, or has done with a ring.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        let makes_room = |ring: &Ring| ring.settled() != ring.released();
        let is_done =
            |ring: &Ring| self.written_until.is_none() && ring.unread() == 0 && ring.kept() == 0;
        let mut left = self.left.iter();
        left.any(|ring| makes_room(ring) || is_done(ring)) || makes_room(&self.live)
    }

    /// The ring that is written to.
    #[must_use]
    pub fn live(&self) -> &Ring {
        &self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 256;

    fn read(records: &mut Records) -> Option<Vec<u8>> {
        records.next().map(|item| item.bytes.to_vec())
    }

    /// As the pipeline does after each drain.
    fn release(records: &mut Records) {
        records.settle();
        records.release();
    }

    #[test]
    fn rings_of_replaced_programs_come_first() {
        let began = Instant::now();
        let ((old, old_kernel), (live, kernel)) = (Ring::made(1, SIZE, 0), Ring::made(2, SIZE, 0));
        kernel.write(b"live");
        old_kernel.write(b"old");
        let mut records = Records::new(vec![old], live, began);
        assert!(records.has_left_records());
        assert_eq!(read(&mut records).unwrap(), b"old");
        assert_eq!(read(&mut records).unwrap(), b"live");
        assert_eq!(read(&mut records), None);
    }

    #[test]
    fn a_last_record_that_is_still_being_written_is_waited_for() {
        let began = Instant::now();
        let ((old, old_kernel), (live, kernel)) = (Ring::made(1, SIZE, 0), Ring::made(2, SIZE, 0));
        let last = old_kernel.reserve(4).unwrap();
        let mut records = Records::new(vec![old], live, began);
        kernel.write(b"live");
        assert_eq!(records.give_up(began), 0);
        assert!(records.is_waiting());
        assert_eq!(
            read(&mut records),
            None,
            "what came later is not read before"
        );
        release(&mut records);
        old_kernel.commit(last, b"last");
        assert!(!records.is_waiting());
        assert_eq!(read(&mut records).unwrap(), b"last");
        assert_eq!(read(&mut records).unwrap(), b"live");
    }

    #[test]
    fn a_last_record_that_is_begun_a_moment_later_is_not_lost_either() {
        let began = Instant::now();
        let ((old, old_kernel), (live, _)) = (Ring::made(1, SIZE, 0), Ring::made(2, SIZE, 0));
        let mut records = Records::new(vec![old], live, began);
        assert!(!records.has_left_records());
        assert_eq!(records.give_up(began), 0);
        assert_eq!(read(&mut records), None);
        release(&mut records);
        old_kernel.write(b"last");
        assert!(records.has_left());
        assert_eq!(read(&mut records).unwrap(), b"last");
        release(&mut records);
        assert_eq!(records.give_up(began + LAST_RECORD), 0);
        release(&mut records);
        assert!(!records.has_left(), "nothing more will come");
    }

    #[test]
    fn a_last_record_that_never_comes_is_counted_and_what_is_behind_it_is_read() {
        let began = Instant::now();
        let ((old, old_kernel), (live, kernel)) = (Ring::made(1, SIZE, 0), Ring::made(2, SIZE, 0));
        old_kernel.reserve(4).unwrap();
        old_kernel.write(b"behind");
        old_kernel.reserve(4).unwrap();
        kernel.write(b"live");
        let mut records = Records::new(vec![old], live, began);
        let before_the_end = began + LAST_RECORD - Duration::from_millis(1);
        assert_eq!(records.give_up(before_the_end), 0);
        assert_eq!(read(&mut records), None);
        assert_eq!(records.give_up(began + LAST_RECORD), 1);
        assert_eq!(read(&mut records).unwrap(), b"behind");
        assert_eq!(records.give_up(began + LAST_RECORD), 1);
        assert_eq!(records.give_up(began + LAST_RECORD), 0);
        assert_eq!(read(&mut records).unwrap(), b"live");
        release(&mut records);
        assert!(!records.has_left());
    }
}
