//! How long each test took last, kept between runs beside the other caches.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};

use crate::toolchain;

/// Seconds by `<program>: <test>`, of this run and of those before.
#[derive(Debug, Default)]
pub(super) struct Times {
    file: PathBuf,
    /// Of runs before and, once a test has run, of this one.
    last: Mutex<BTreeMap<String, f64>>,
    now: Mutex<Vec<(String, f64)>>,
}

impl Times {
    /// What earlier runs have written; empty without any.
    ///
    /// # Errors
    /// No cache directory is known.
    pub(super) fn load() -> Result<Self> {
        let file = toolchain::cache_dir()?.join("test-times.json");
        let text = fs::read_to_string(&file).unwrap_or_default();
        Ok(Self {
            file,
            last: Mutex::new(serde_json::from_str(&text).unwrap_or_default()),
            now: Mutex::default(),
        })
    }

    pub(super) fn note(&self, name: String, seconds: f64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(name.clone(), seconds);
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.push((name, seconds));
    }

    /// Seconds that the test took when it ran last.
    pub(super) fn of(&self, name: &str) -> Option<f64> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(name).copied()
    }

    /// Keeps what is known for the next run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn save(&self) -> Result<()> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = self.file.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&self.file, serde_json::to_string_pretty(&*last)? + "\n")
            .with_context(|| format!("write {}", self.file.display()))
    }

    /// The tests of this run that took longest, the slowest first.
    pub(super) fn slowest(&self, count: usize) -> Vec<(String, f64)> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = now.clone();
        now.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        now.truncate(count);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_this_run_come_first_and_earlier_runs_are_known() {
        let times = Times::default();
        let before = [("a".to_owned(), 9.0)].into();
        *times.last.lock().unwrap() = before;
        for (name, seconds) in [("b", 1.0), ("c", 3.0), ("d", 2.0)] {
            times.note(name.into(), seconds);
        }
        assert_eq!(times.slowest(2), [("c".into(), 3.0), ("d".into(), 2.0)]);
        assert_eq!((times.of("a"), times.of("c")), (Some(9.0), Some(3.0)));
    }
}
