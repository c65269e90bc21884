//! Series with a lifetime and a bound.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The series of one kind, in the order of their labels.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    bound: usize,
    zero_ttl: Duration,
    counted_ttl: Duration,
}

#[derive(Debug)]
struct Entry<V> {
    /// Nothing until the first count, so that the many that never count stay small.
    counts: Option<Box<V>>,
    /// When it last counted or its owner was last seen.
    used: Instant,
}

/// There is no room for a series that has counted nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl<K: Ord + Clone, V: Default> Table<K, V> {
    /// At most `bound` series. Without an owner those at 0 are kept for `zero_ttl`, those that
    /// counted for `counted_ttl`.
    pub(super) fn new(bound: usize, zero_ttl: Duration, counted_ttl: Duration) -> Self {
        Self {
            entries: BTreeMap::new(),
            bound,
            zero_ttl,
            counted_ttl,
        }
    }

    /// Shows a series at 0, or goes on with the one that is there.
    pub(super) fn show(&mut self, key: &K, now: Instant) -> Result<(), Full> {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.used = now;
            return Ok(());
        }
        if self.entries.len() >= self.bound {
            return Err(Full);
        }
        self.insert(key, now);
        Ok(())
    }

    /// The counts of a series, which is made if it is not there: another makes room for it.
    /// Those at 0 go first, then those without an owner, then those that have been quiet for
    /// longest.
    pub(super) fn count(&mut self, key: &K, now: Instant, owned: impl Fn(&K) -> bool) -> &mut V {
        if !self.entries.contains_key(key) {
            while self.entries.len() >= self.bound.max(1) {
                let least = self
                    .entries
                    .iter()
                    .min_by_key(|(key, entry)| (entry.counts.is_some(), owned(key), entry.used))
                    .map(|(key, _)| key.clone());
                let Some(least) = least else { break };
                self.entries.remove(&least);
            }
            self.insert(key, now);
        }
        let entry = self.entries.entry(key.clone()).or_insert(Entry {
            counts: None,
            used: now,
        });
        entry.used = now;
        entry.counts.get_or_insert_default()
    }

    /// Drops what nobody owns and has had its time.
    pub(super) fn expire(&mut self, now: Instant, owned: impl Fn(&K) -> bool) {
        let (zero_ttl, counted_ttl) = (self.zero_ttl, self.counted_ttl);
        self.entries.retain(|key, entry| {
            if owned(key) {
                entry.used = now;
                return true;
            }
            let ttl = match entry.counts {
                Some(_) => counted_ttl,
                None => zero_ttl,
            };
            now.saturating_duration_since(entry.used) < ttl
        });
    }

    /// Every series; those at 0 without counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, Option<&V>)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key, entry.counts.as_deref()))
    }

    /// The series that have counted, and for how long each has been without its owner at most.
    pub(super) fn export(&self, now: Instant) -> impl Iterator<Item = (&K, &V, Duration)> {
        self.entries.iter().filter_map(move |(key, entry)| {
            let idle = now.saturating_duration_since(entry.used);
            Some((key, entry.counts.as_deref()?, idle))
        })
    }

    /// Goes on with a series that was exported; beyond the bound only if there is room.
    pub(super) fn restore(&mut self, key: K, counts: V, used: Instant) {
        if self.entries.len() < self.bound || self.entries.contains_key(&key) {
            let counts = Some(Box::new(counts));
            self.entries.insert(key, Entry { counts, used });
        }
    }

    fn insert(&mut self, key: &K, now: Instant) {
        let entry = Entry {
            counts: None,
            used: now,
        };
        self.entries.insert(key.clone(), entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn table(bound: usize) -> (Table<&'static str, u64>, Instant) {
        let table = Table::new(bound, Duration::ZERO, 60 * MINUTE);
        (table, Instant::now())
    }

    fn shown(table: &Table<&'static str, u64>) -> String {
        let shown = table
            .iter()
            .map(|(key, count)| format!("{key}{}", count.copied().unwrap_or(0)));
        shown.collect::<Vec<_>>().join(" ")
    }

    fn nobody(_: &&str) -> bool {
        false
    }

    #[test]
    fn a_zero_goes_with_its_owner_and_what_counted_stays_for_its_time() {
        let (mut table, now) = table(10);
        for key in ["a", "b", "c"] {
            table.show(&key, now).unwrap();
        }
        *table.count(&"b", now, nobody) += 1;
        table.expire(now + MINUTE, |key| *key == "a");
        assert_eq!(shown(&table), "a0 b1");
        table.expire(now + 59 * MINUTE, nobody);
        assert_eq!(shown(&table), "b1");
        table.expire(now + 60 * MINUTE, nobody);
        assert_eq!(shown(&table), "");
    }

    #[test]
    fn the_time_without_an_owner_starts_when_the_owner_goes() {
        let (mut table, now) = table(10);
        *table.count(&"a", now, nobody) += 1;
        table.expire(now + 600 * MINUTE, |_| true);
        table.expire(now + 659 * MINUTE, nobody);
        assert_eq!(shown(&table), "a1");
        table.show(&"a", now + 659 * MINUTE).unwrap();
        table.expire(now + 718 * MINUTE, nobody);
        assert_eq!(shown(&table), "a1", "its owner came back and went again");
    }

    #[test]
    fn a_zero_is_refused_where_a_count_is_not() {
        let (mut table, now) = table(2);
        table.show(&"a", now).unwrap();
        table.show(&"b", now).unwrap();
        assert_eq!(table.show(&"c", now), Err(Full));
        assert_eq!(table.show(&"a", now), Ok(()));
        *table.count(&"c", now, nobody) += 1;
        assert_eq!(shown(&table), "b0 c1");
    }

    #[test]
    fn room_is_made_by_zeros_then_the_ownerless_then_the_quiet() {
        let (mut table, now) = table(4);
        let owned = |key: &&str| ["zero", "old", "new"].contains(key);
        table.show(&"zero", now + 3 * MINUTE).unwrap();
        *table.count(&"old", now, owned) += 1;
        *table.count(&"new", now + MINUTE, owned) += 1;
        *table.count(&"gone", now + 2 * MINUTE, owned) += 1;
        for (key, left) in [
            ("1", "11 gone1 new1 old1"),
            ("2", "11 21 new1 old1"),
            ("3", "21 31 new1 old1"),
        ] {
            *table.count(&key, now + 4 * MINUTE, owned) += 1;
            assert_eq!(shown(&table), left, "for {key}");
        }
        let everybody = |_: &&str| true;
        *table.count(&"4", now + 5 * MINUTE, everybody) += 1;
        assert_eq!(shown(&table), "21 31 41 new1");
    }
}
