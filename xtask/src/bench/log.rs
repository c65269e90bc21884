//! The daemon's log, each line with the time at which it could be read.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use serde::Deserialize;

use super::priority;

/// A kill as somebody told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) pid: u32,
    /// The path of the victim's cgroup, where it was told.
    pub(super) cgroup: Option<String>,
    /// By the kernel's clock, where it was told.
    pub(super) killed: Option<SystemTime>,
    pub(super) seen: SystemTime,
}

/// Follows the log on a thread of its own until it ends.
#[derive(Clone)]
pub(super) struct Log(Arc<Lines>);

#[derive(Default)]
struct Lines {
    told: Mutex<Vec<Told>>,
    more: Condvar,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    time: jiff::Timestamp,
    victim: Option<Victim>,
    cgroup: Option<Cgroup>,
}

#[derive(Deserialize)]
struct Victim {
    pid: u32,
}

#[derive(Deserialize)]
struct Cgroup {
    path: String,
}

impl Log {
    pub(super) fn follow(from: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Lines::default());
        let to = Arc::clone(&lines);
        priority::measuring(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let seen = SystemTime::now();
                to.lock().extend(parse(&line, seen));
                to.more.notify_all();
            }
        });
        Self(lines)
    }

    /// Waits until more than so many kills were told since the last time, but not for ever.
    pub(super) fn wait_for_more(&self, than: usize, at_most: Duration) {
        let told = self.0.lock();
        let is_short = |told: &mut Vec<Told>| told.len() <= than;
        drop(self.0.more.wait_timeout_while(told, at_most, is_short));
    }

    /// What was told since the last time, once it is so many kills.
    ///
    /// # Errors
    /// They do not come in time.
    pub(super) fn take(&self, kills: usize, within: Duration) -> Result<Vec<Told>> {
        let deadline = Instant::now() + within;
        loop {
            let mut told = self.0.lock();
            if told.len() >= kills {
                return Ok(std::mem::take(&mut told));
            }
            if Instant::now() > deadline {
                bail!("the log tells of {} of {kills} kills", told.len());
            }
            drop(told);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What was told since the last time, after a while for the rest.
    pub(super) fn take_after(&self, pause: Duration) -> Vec<Told> {
        thread::sleep(pause);
        std::mem::take(&mut self.0.lock())
    }
}

/// A line that tells of a kill.
fn parse(line: &str, seen: SystemTime) -> Option<Told> {
    let line: Line = serde_json::from_str(line).ok()?;
    (line.r#type == "oom_kill").then_some(())?;
    Some(Told {
        pid: line.victim?.pid,
        cgroup: line.cgroup.map(|cgroup| cgroup.path),
        killed: Some(line.time.into()),
        seen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_told_with_their_pid_path_and_time() {
        let seen = SystemTime::UNIX_EPOCH + Duration::from_secs(2);
        let kill = r#"{"type":"oom_kill","time":"1970-01-01T00:00:01.5Z","victim":{"pid":7},
                       "cgroup":{"path":"/a/b"}}"#;
        let told = Told {
            pid: 7,
            cgroup: Some("/a/b".into()),
            killed: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1500)),
            seen,
        };
        assert_eq!(parse(kill, seen), Some(told));
        let outcome = r#"{"type":"oom_event","time":"1970-01-01T00:00:01.5Z"}"#;
        assert_eq!(parse(outcome, seen), None);
        assert_eq!(parse("not JSON", seen), None);
    }
}
