//! What one replica holds, and the allocation that is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hog::units::format_size;

use super::Status;
use crate::memory::Hoard;
use crate::say::{Progress, Who, say};

pub(super) struct Replica {
    step: u64,
    interval: Duration,
    state: Mutex<State>,
}

struct State {
    hoard: Hoard,
    allocation: Allocation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allocation {
    None,
    /// Up to so many bytes in all.
    UpTo(u64),
}

/// Another allocation is under way.
#[derive(Debug)]
pub(super) struct Busy;

impl Replica {
    pub(super) fn new(step: u64, interval: Duration) -> Self {
        Self {
            step,
            interval,
            state: Mutex::new(State {
                hoard: Hoard::anonymous(),
                allocation: Allocation::None,
            }),
        }
    }

    /// Takes `bytes` more from now on, step by step, in the background.
    pub(super) fn allocate(self: &Arc<Self>, bytes: u64) -> Result<(), Busy> {
        let target = {
            let mut state = self.state();
            if state.allocation != Allocation::None {
                return Err(Busy);
            }
            let target = state.hoard.held() + bytes;
            state.allocation = Allocation::UpTo(target);
            target
        };
        say!(
            "hog: asked for {} more in steps of {}",
            format_size(bytes),
            format_size(self.step)
        );
        let replica = Arc::clone(self);
        tokio::spawn(async move {
            let mut progress = Progress::new(Who::Hog, Some(target), "anon");
            while replica.grow(target, &mut progress) {
                tokio::time::sleep(replica.interval).await;
            }
        });
        Ok(())
    }

    /// One step; true if there is another one to take.
    fn grow(&self, target: u64, progress: &mut Progress) -> bool {
        let mut state = self.state();
        if state.allocation != Allocation::UpTo(target) {
            return false;
        }
        let step = self.step.min(target - state.hoard.held());
        let grown = state.hoard.grow(step);
        let held = state.hoard.held();
        if let Err(error) = &grown {
            eprintln!("hog: {error:#}");
        } else {
            progress.report(held, Instant::now());
        }
        let more = grown.is_ok() && held < target;
        if !more {
            state.allocation = Allocation::None;
            say!("hog: holding {}", format_size(held));
        }
        more
    }

    /// Ends the allocation and gives back all that is held; how much that was.
    pub(super) fn free(&self) -> u64 {
        let mut state = self.state();
        let held = state.hoard.held();
        state.hoard = Hoard::anonymous();
        state.allocation = Allocation::None;
        say!("hog: gave back {}", format_size(held));
        held
    }

    pub(super) fn status(&self) -> Status {
        let state = self.state();
        Status::read(
            state.hoard.held(),
            match state.allocation {
                Allocation::None => None,
                Allocation::UpTo(target) => Some(target),
            },
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
