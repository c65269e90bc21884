//! Which processes are known to be killed, or to have been dying anyway.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use crate::model::{
    kill::{Kill, KillId},
    labels::Role,
};

/// Processes remembered. Far more than can be dying at once, and a process is marked again only
/// while it is dying.
const CAPACITY: usize = 2048;

/// How long, in kernel time, an id that the kernel may give to another process is taken for the
/// same: it dies in less, and no machine goes through all of its ids in so little.
const SAME_NS: u64 = 10_000_000_000;

/// A process that is known to be killed, or to have been dying anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Thread group id; of one that was dying anyway the thread's.
    pub tgid: u32,
    /// Start of the group leader, ns of boot time; 0 where it is not known.
    pub start_time_ns: u64,
    /// Absent for one that was dying anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// When that was seen, ns of boot time.
    pub at_ns: u64,
}

impl Remembered {
    /// A kill.
    #[must_use]
    pub fn of(kill: &Kill) -> Self {
        Self {
            tgid: kill.key.tgid,
            start_time_ns: kill.key.start_time_ns,
            role: Some(kill.role),
            at_ns: kill.boottime_ns,
        }
    }

    /// Which process it is.
    #[must_use]
    pub fn kill_id(&self) -> KillId {
        KillId {
            tgid: self.tgid,
            start_time_ns: self.start_time_ns,
        }
    }
}

/// A key that names one process.
pub(super) trait Key: Copy + Eq + Hash {
    /// Whether no other process of this boot can have it.
    fn is_unique(&self) -> bool;
}

/// A bounded memory of processes, oldest forgotten first.
pub(super) struct Seen<K, V> {
    known: HashMap<K, (u64, V)>,
    order: VecDeque<K>,
}

impl<K, V> Default for Seen<K, V> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Key, V: Copy> Seen<K, V> {
    /// What is remembered of that process. `now_ns` is boot time.
    pub(super) fn get(&self, key: K, now_ns: u64) -> Option<V> {
        let (since, value) = *self.known.get(&key)?;
        (key.is_unique() || now_ns.saturating_sub(since) < SAME_NS).then_some(value)
    }

    /// All that is remembered, oldest first: key, since when, what.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, u64, V)> {
        self.order.iter().filter_map(|key| {
            let (since, value) = *self.known.get(key)?;
            Some((*key, since, value))
        })
    }

    /// Remembers a process, or what is new of it.
    pub(super) fn insert(&mut self, key: K, value: V, now_ns: u64) {
        if self.known.insert(key, (now_ns, value)).is_some() {
            return;
        }
        if self.order.len() == CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    struct Id {
        id: u32,
        unique: bool,
    }

    impl Key for Id {
        fn is_unique(&self) -> bool {
            self.unique
        }
    }

    const fn unique(id: u32) -> Id {
        Id { id, unique: true }
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut seen = Seen::default();
        for n in 0..=CAPACITY as u32 {
            seen.insert(unique(n), n, 1);
        }
        assert_eq!(seen.get(unique(0), 1), None);
        assert_eq!(seen.get(unique(1), 1), Some(1));
        assert_eq!(seen.get(unique(CAPACITY as u32), 1), Some(CAPACITY as u32));
    }

    #[test]
    fn an_id_that_may_be_given_again_is_not_taken_for_the_same_for_long() {
        let mut seen = Seen::default();
        let reused = Id {
            id: 1,
            unique: false,
        };
        seen.insert(reused, (), 5);
        seen.insert(unique(2), (), 5);
        for (now, want) in [(5, true), (4 + SAME_NS, true), (5 + SAME_NS, false)] {
            assert_eq!(seen.get(reused, now).is_some(), want, "at {now}");
            assert!(seen.get(unique(2), now).is_some());
        }
    }
}
