//! Whether the reader of the ring is alive: what `/healthz` answers.
//!
//! A thread that hangs answers nobody, and needs no check. What this finds is a reader that is no
//! longer woken while everything else goes on. Scrapes drain the ring too, so that nothing is lost
//! by it, but kills are then as late as the next scrape.

use std::time::{Duration, Instant};

/// How long a mark may wait for the reader, which takes less than a millisecond when it is alive;
/// however busy the node, a reader that is woken is not that late.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How many times a request may find marks that have waited too long, in a row. Once can be chance:
/// where the whole process was stopped, a request may come first when it goes on.
const CHANCE: u32 = 1;

/// What the reader has done and what waits for it. Marks are counted by the kernel; the ring may
/// hold other records for long, since nobody is woken for them.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// Marks that the ring had been given when it was last drained.
    taken: u64,
    /// Since when more than that are known to be in the ring.
    waiting_since: Option<Instant>,
    /// How often a request had to take what the reader had left, since the reader last came.
    left: u32,
}

impl Liveness {
    /// The reader was woken, and takes all of the `marks` that the ring was given.
    pub(super) fn read(&mut self, marks: u64) {
        *self = Self {
            taken: marks,
            waiting_since: None,
            left: 0,
        };
    }

    /// A request takes them instead; the oldest one has waited for `oldest`.
    pub(super) fn requested(&mut self, marks: u64, oldest: Option<Duration>) {
        self.taken = marks;
        self.waiting_since = None;
        if oldest.is_some_and(|age| age >= PATIENCE) {
            self.left = self.left.saturating_add(1);
        }
    }

    /// Why the reader counts as stuck, if it does.
    pub(super) fn judge(&mut self, marks: u64, now: Instant) -> Option<String> {
        if self.left > CHANCE {
            return Some(format!(
                "it was not woken for the last kills, which only requests have read, {} times",
                self.left
            ));
        }
        if marks == self.taken {
            self.waiting_since = None;
            return None;
        }
        let since = *self.waiting_since.get_or_insert(now);
        let waited = now.duration_since(since);
        (waited >= PATIENCE).then(|| {
            let waiting = marks.saturating_sub(self.taken);
            let waited = waited.as_secs();
            format!("{waiting} kills or more have waited in the ring for {waited} s")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        /// The kernel marks so many.
        Marks(u64),
        Read,
        /// A request drains; the oldest mark has waited so many seconds.
        Request(Option<u64>),
        /// So many seconds pass.
        Pass(u64),
        Alive,
        Stuck,
    }
    use Step::{Alive, Marks, Pass, Read, Request, Stuck};

    #[test]
    fn only_a_reader_that_is_not_woken_is_stuck() {
        for (what, steps) in [
            ("nothing happens", &[Alive, Pass(3600), Alive][..]),
            ("what is read at once", &[Marks(1), Read, Pass(60), Alive]),
            (
                "a moment's delay",
                &[Marks(3), Alive, Pass(4), Alive, Read, Pass(9), Alive],
            ),
            (
                "nobody reads",
                &[Marks(3), Alive, Pass(5), Stuck, Pass(60), Stuck],
            ),
            (
                "it comes back",
                &[
                    Marks(3),
                    Alive,
                    Pass(5),
                    Stuck,
                    Read,
                    Alive,
                    Pass(60),
                    Alive,
                ],
            ),
            (
                "a long time without a question is no delay",
                &[Marks(1), Pass(3600), Alive, Pass(5), Stuck],
            ),
            (
                "a storm: there is always more, and the reader comes again and again",
                &[
                    Marks(9),
                    Alive,
                    Pass(4),
                    Read,
                    Marks(9),
                    Alive,
                    Pass(4),
                    Read,
                    Marks(9),
                    Alive,
                    Pass(4),
                    Alive,
                ],
            ),
            (
                "a request comes first, as it may",
                &[Marks(1), Request(Some(0)), Pass(60), Alive],
            ),
            (
                "stopped as a whole, and a request comes first when it goes on",
                &[
                    Marks(1),
                    Pass(3600),
                    Request(Some(3600)),
                    Pass(60),
                    Alive,
                    Marks(1),
                    Read,
                    Alive,
                ],
            ),
            (
                "only requests read",
                &[
                    Marks(1),
                    Request(Some(9)),
                    Alive,
                    Marks(1),
                    Request(Some(9)),
                    Stuck,
                    Request(None),
                    Stuck,
                    Marks(1),
                    Read,
                    Alive,
                ],
            ),
            (
                "requests that find nothing old",
                &[
                    Request(None),
                    Request(None),
                    Marks(1),
                    Request(Some(4)),
                    Pass(60),
                    Alive,
                ],
            ),
        ] {
            let mut liveness = Liveness::default();
            let (mut marks, mut now) = (0, Instant::now());
            for (number, step) in steps.iter().enumerate() {
                match step {
                    Marks(more) => marks += more,
                    Read => liveness.read(marks),
                    Request(oldest) => liveness.requested(marks, oldest.map(Duration::from_secs)),
                    Pass(seconds) => now += Duration::from_secs(*seconds),
                    Alive => assert_eq!(liveness.judge(marks, now), None, "{what}, step {number}"),
                    Stuck => assert!(
                        liveness.judge(marks, now).is_some(),
                        "{what}, step {number}"
                    ),
                }
            }
        }
    }
}
