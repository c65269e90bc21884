//! OOM events whose outcome is known and of which no Event tells yet.
//!
//! A container's outcome is often known by its first victim, while the kernel is still killing the
//! others. It is counted then; what is said in words waits until all of them are known.

use super::object::Subject;
use crate::attribution::outcome::{Key, Settled};
use capture::model::kill::Record;

/// The events that wait for their last victim.
#[derive(Debug, Default)]
pub(crate) struct Unreported {
    events: Vec<(Key, Settled, Subject)>,
}

impl Unreported {
    /// Takes an event whose outcome has just become known.
    pub(crate) fn add(&mut self, settled: Settled, subject: Subject) {
        if let Some(key) = Key::of(&settled.kill) {
            self.events.push((key, settled, subject));
        }
    }

    /// Takes a kill, which may be a further victim of such an event.
    pub(crate) fn on_kill(&mut self, record: &Record) {
        if self.events.is_empty() {
            return;
        }
        let Some(key) = Key::of(record) else { return };
        let event = self.events.iter_mut().find(|(known, ..)| *known == key);
        if let Some((_, settled, _)) = event {
            settled.add(record);
        }
    }

    /// The events that get no more victims: all but the one that is under way.
    pub(crate) fn over(&mut self, under_way: Option<&str>) -> Vec<(Settled, Subject)> {
        let over = self
            .events
            .extract_if(.., |(key, ..)| under_way != Some(key.event()));
        over.map(|(_, settled, subject)| (settled, subject))
            .collect()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
