//! What a daemon leaves in the ledger about the records that it has released from the ring, so
//! that the next one goes on counting where it stopped.

use oom_probe_common::ledger::CHECKPOINT_LEN;

use crate::assemble::Counts;

/// What had been made of all records before a position in the ring, by all daemons since the
/// ledger was set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Grows by one each time; 0 is none.
    pub number: u64,
    /// Up to where the ring was to be released.
    pub position: u64,
    /// [`Counts::marked_kills`].
    pub marked_kills: u64,
    /// [`Counts::doubtful`].
    pub doubtful: u64,
    /// [`Counts::repeats`].
    pub repeats: u64,
    /// Of the marks that the ring had no room for, those that were counted as kills.
    pub dropped_marks: u64,
    /// Of the signals that it had no room for, those that cast their doubt.
    pub dropped_signals: u64,
    /// How often the signal hook was known to have missed a run.
    pub misses: u64,
}

impl Checkpoint {
    pub(crate) const fn numbers(&self) -> [u64; CHECKPOINT_LEN] {
        let Self {
            number,
            position,
            marked_kills,
            doubtful,
            repeats,
            dropped_marks,
            dropped_signals,
            misses,
        } = *self;
        [
            number,
            position,
            marked_kills,
            doubtful,
            repeats,
            dropped_marks,
            dropped_signals,
            misses,
        ]
    }

    /// `None` where none was written, or not to its end.
    pub(crate) fn from_numbers(numbers: [u64; CHECKPOINT_LEN]) -> Option<Self> {
        let [
            number,
            position,
            marked_kills,
            doubtful,
            repeats,
            dropped_marks,
            dropped_signals,
            misses,
        ] = numbers;
        (number != 0).then_some(Self {
            number,
            position,
            marked_kills,
            doubtful,
            repeats,
            dropped_marks,
            dropped_signals,
            misses,
        })
    }

    /// The one that holds where the ring was released up to `position`: the newest may have been
    /// written by a daemon that died before it released. Without one for that position the newest
    /// comes closest.
    pub(crate) fn newest(checkpoints: impl Iterator<Item = Self>, position: u64) -> Option<Self> {
        checkpoints.max_by_key(|checkpoint| (checkpoint.position == position, checkpoint.number))
    }

    /// What the referee holds against vmstat.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            marked_kills: self.marked_kills,
            doubtful: self.doubtful,
            repeats: self.repeats,
            ..Counts::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64, position: u64) -> Checkpoint {
        Checkpoint {
            number,
            position,
            ..Checkpoint::default()
        }
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        let checkpoint = Checkpoint {
            number: 1,
            position: 2,
            marked_kills: 3,
            doubtful: 4,
            repeats: 5,
            dropped_marks: 6,
            dropped_signals: 7,
            misses: 8,
        };
        let back = Checkpoint::from_numbers(checkpoint.numbers());
        assert_eq!(back, Some(checkpoint));
        assert_eq!(Checkpoint::from_numbers([0; CHECKPOINT_LEN]), None);
    }

    #[test]
    fn the_one_for_the_ring_as_it_is_holds() {
        for (what, checkpoints, position, wanted) in [
            ("none", &[][..], 8, None),
            (
                "released after the newest",
                &[at(4, 80), at(5, 96)],
                96,
                Some(5),
            ),
            (
                "died before it released",
                &[at(4, 80), at(5, 96)],
                80,
                Some(4),
            ),
            (
                "nothing was read in between",
                &[at(4, 80), at(5, 80)],
                80,
                Some(5),
            ),
            ("half written", &[at(4, 80)], 80, Some(4)),
            ("another ring", &[at(4, 80), at(5, 96)], 0, Some(5)),
        ] {
            let newest = Checkpoint::newest(checkpoints.iter().copied(), position);
            assert_eq!(newest.map(|c| c.number), wanted, "{what}");
        }
    }
}
