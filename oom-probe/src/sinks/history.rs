//! The last kills, kept for `/api/v1/kills`: newest last, at most as many as asked for.
//!
//! A record is serialised once, when it comes in: what is kept is one flat allocation, and an
//! answer hands out references to it instead of copies.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::watch;

use capture::model::kill::Record;

/// A bounded ring of serialised records.
#[derive(Debug)]
pub struct History {
    capacity: usize,
    entries: Mutex<VecDeque<Entry>>,
    pushed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Entry {
    id: Box<str>,
    time: Timestamp,
    json: Bytes,
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Kills at or after this time.
    pub since: Option<Timestamp>,
    /// Records that came in after the one with this kill id. An id that is not held stands for one
    /// that was pushed out: everything held came after it.
    pub after: Option<String>,
    /// At most so many: the oldest ones with `after`, so that following in pages skips nothing,
    /// else the newest ones.
    pub limit: Option<usize>,
}

impl History {
    /// An empty history of the last `capacity` records.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: Mutex::new(VecDeque::new()),
            pushed: watch::Sender::new(0),
        }
    }

    /// Appends a record, pushing out the oldest one if the history is full, and wakes who waits.
    /// Returns the record as JSON.
    ///
    /// # Errors
    /// When the record cannot be written as JSON; it is then not kept.
    pub fn push(&self, record: &Record) -> Result<Bytes, serde_json::Error> {
        let json = Bytes::from(serde_json::to_vec(record)?.into_boxed_slice());
        self.keep(Entry {
            id: record.kill.id.as_str().into(),
            time: record.kill.time,
            json: json.clone(),
        });
        Ok(json)
    }

    /// Appends a record of before a restart.
    ///
    /// # Errors
    /// It is no record.
    pub fn restore(&self, json: &str) -> Result<(), serde_json::Error> {
        #[derive(Deserialize)]
        struct Key {
            id: Box<str>,
            time: Timestamp,
        }
        let Key { id, time } = serde_json::from_str(json)?;
        self.keep(Entry {
            id,
            time,
            json: Bytes::copy_from_slice(json.as_bytes()),
        });
        Ok(())
    }

    fn keep(&self, entry: Entry) {
        let mut entries = self.lock();
        entries.push_back(entry);
        while entries.len() > self.capacity {
            entries.pop_front();
        }
        drop(entries);
        self.pushed.send_modify(|count| *count += 1);
    }

    /// The records that `query` asks for as JSON objects, newest last.
    pub fn select(&self, query: &Query) -> Vec<Bytes> {
        let entries = self.lock();
        let first = query
            .after
            .as_deref()
            .and_then(|id| entries.iter().rposition(|entry| *entry.id == *id))
            .map_or(0, |position| position + 1);
        let mut selected: Vec<Bytes> = entries
            .range(first..)
            .filter(|entry| query.since.is_none_or(|since| entry.time >= since))
            .map(|entry| entry.json.clone())
            .collect();
        if let Some(limit) = query.limit {
            if query.after.is_some() {
                selected.truncate(limit);
            } else {
                selected.drain(..selected.len().saturating_sub(limit));
            }
        }
        selected
    }

    /// Changes with each record: for waiting until [`Self::select`] may find more.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.pushed.subscribe()
    }

    /// A panic while the lock was held cannot leave the ring half changed.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::fixture;

    const SECONDS: [&str; 5] = ["10", "11", "12", "13", "14"];

    fn five_kills_in(capacity: usize) -> History {
        let history = History::new(capacity);
        for second in SECONDS {
            let mut record = fixture::pod_child();
            record.kill.id = format!("k{second}");
            record.kill.time = at(second);
            history.push(&record).unwrap();
        }
        history
    }

    fn at(second: &str) -> Timestamp {
        format!("2025-11-20T12:03:{second}Z").parse().unwrap()
    }

    fn ids(history: &History, query: &Query) -> Vec<String> {
        history
            .select(query)
            .iter()
            .map(|json| serde_json::from_slice::<Record>(json).unwrap().kill.id)
            .collect()
    }

    #[test]
    fn keeps_the_newest_and_answers_newest_last() {
        assert_eq!(
            ids(&five_kills_in(3), &Query::default()),
            ["k12", "k13", "k14"]
        );
        assert_eq!(ids(&five_kills_in(5), &Query::default()).len(), 5);
        assert!(ids(&five_kills_in(0), &Query::default()).is_empty());
    }

    #[test]
    fn each_part_of_a_query_narrows_the_answer() {
        let since = |second| Some(at(second));
        let after = |id: &str| Some(id.to_owned());
        #[rustfmt::skip]
        let table: [(Query, &[&str]); 9] = [
            (Query { since: since("13"), ..Query::default() }, &["k13", "k14"]),
            (Query { since: since("15"), ..Query::default() }, &[]),
            (Query { limit: Some(2), ..Query::default() }, &["k13", "k14"]),
            (Query { limit: Some(9), ..Query::default() }, &["k11", "k12", "k13", "k14"]),
            (Query { limit: Some(0), ..Query::default() }, &[]),
            (Query { after: after("k12"), ..Query::default() }, &["k13", "k14"]),
            (Query { after: after("k14"), ..Query::default() }, &[]),
            (Query { after: after("k10"), ..Query::default() }, &["k11", "k12", "k13", "k14"]),
            (Query { after: after("k11"), since: since("13"), limit: Some(1) }, &["k13"]),
        ];
        let history = five_kills_in(4);
        for (query, expected) in table {
            assert_eq!(ids(&history, &query), expected, "{query:?}");
        }
    }

    #[test]
    fn following_in_pages_skips_nothing() {
        let history = five_kills_in(5);
        let mut seen = vec!["k10".to_owned()];
        loop {
            let page = ids(
                &history,
                &Query {
                    after: seen.last().cloned(),
                    limit: Some(2),
                    since: None,
                },
            );
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, ["k10", "k11", "k12", "k13", "k14"]);
    }

    #[tokio::test]
    async fn a_push_wakes_who_waits() {
        let history = History::new(1);
        let mut pushed = history.subscribe();
        assert!(!pushed.has_changed().unwrap());
        history.push(&fixture::host_unit()).unwrap();
        pushed.changed().await.unwrap();
        assert_eq!(history.select(&Query::default()).len(), 1);
    }
}
