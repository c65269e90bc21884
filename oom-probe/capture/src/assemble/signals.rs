//! SIGKILLs whose mark is still to come.

use std::collections::VecDeque;

use oom_probe_common::record::Target;

/// Signals that wait for their mark. One event has at most as many as it kills processes, and
/// each is taken by the mark right behind it.
const CAPACITY: usize = 256;

/// A SIGKILL that the kernel itself sent.
pub(super) struct Signal {
    /// When it was sent, boot time.
    pub(super) time_ns: u64,
    /// The task that sent it: the trigger.
    pub(super) current_tid: u32,
    /// Whom it went to.
    pub(super) target: Target,
    /// Where the mark will carry no more than a thread id: the record of the task.
    pub(super) whole: Option<Vec<u8>>,
    /// It went to a process for sharing the victim's mm, of which no mark tells; if one follows
    /// all the same, it is not this signal's.
    pub(super) for_its_mm: bool,
}

/// The signals, oldest first.
#[derive(Default)]
pub(super) struct Signals(VecDeque<Signal>);

impl Signals {
    pub(super) fn push(&mut self, signal: Signal) {
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(signal);
    }

    /// What that task sent will not be marked any more.
    pub(super) fn forget(&mut self, current_tid: u32) {
        self.0.retain(|signal| signal.current_tid != current_tid);
    }

    /// Whether one was sent since then, boot time.
    pub(super) fn is_any_since(&self, since_ns: u64) -> bool {
        self.0.iter().any(|signal| signal.time_ns >= since_ns)
    }

    /// The signal that came before a mark by the same task. What that task sent earlier and was
    /// not marked never will be.
    pub(super) fn take(
        &mut self,
        current_tid: u32,
        is: impl Fn(&Target) -> bool,
    ) -> Option<Signal> {
        let at = self
            .0
            .iter()
            .rposition(|signal| signal.current_tid == current_tid && is(&signal.target))?;
        let found = self.0.remove(at);
        self.forget(current_tid);
        found
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    fn signal(current_tid: u32, tid: u32) -> Signal {
        Signal {
            time_ns: u64::from(tid),
            current_tid,
            target: Target {
                tid,
                ..Target::zeroed()
            },
            whole: None,
            for_its_mm: false,
        }
    }

    #[test]
    fn a_mark_takes_its_own_signal_and_ends_the_wait_of_earlier_ones() {
        let mut signals = Signals::default();
        for (current, tid) in [(1, 10), (2, 20), (1, 11)] {
            signals.push(signal(current, tid));
        }
        assert!(signals.take(2, |target| target.tid == 10).is_none());
        assert!(signals.take(1, |target| target.tid == 11).is_some());
        assert!(signals.take(1, |target| target.tid == 10).is_none());
        assert!(signals.take(2, |target| target.tid == 20).is_some());
    }

    #[test]
    fn the_oldest_signal_makes_room() {
        let mut signals = Signals::default();
        for tid in 0..=CAPACITY as u32 {
            signals.push(signal(1, tid));
        }
        assert!(signals.take(1, |target| target.tid == 0).is_none());
        assert!(signals.take(1, |target| target.tid == 1).is_some());
    }
}
