//! OOM events whose outcome is known and of which nobody was told yet.
//!
//! A container's outcome is often known by its first victim, while the kernel is still killing the
//! others. It is counted then; what is said in words waits until all of them are known.

use super::{Key, Settled};
use crate::model::kill::Record;

/// The events that wait for their last victim.
#[derive(Debug, Default)]
pub struct Untold {
    events: Vec<(Key, Settled)>,
}

impl Untold {
    /// Takes an event whose outcome has just become known.
    pub fn add(&mut self, settled: Settled) {
        if let Some(key) = Key::of(&settled.kill) {
            self.events.push((key, settled));
        }
    }

    /// Takes a kill, which may be a further victim of such an event.
    pub fn on_kill(&mut self, record: &Record) {
        if self.events.is_empty() {
            return;
        }
        let Some(key) = Key::of(record) else { return };
        let event = self.events.iter_mut().find(|(known, _)| *known == key);
        if let Some((_, settled)) = event {
            settled.add(record);
        }
    }

    /// The events that get no more victims: all but the one that is under way.
    pub fn over(&mut self, under_way: Option<&str>) -> Vec<Settled> {
        let over = self
            .events
            .extract_if(.., |(key, _)| under_way != Some(&*key.event));
        over.map(|(_, settled)| settled).collect()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
