//! The commit that is built, as binaries and images name it.

use std::env;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cmd;

/// Names the commit where there is no repository: a container's build, say.
const COMMIT: &str = "OOM_PROBE_COMMIT";
const EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Digits of a commit that stand for it.
const SHORT: usize = 12;

/// What is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The whole commit id; none in a source archive.
    pub(crate) revision: Option<String>,
    /// Whether files differ from that commit.
    pub(crate) modified: bool,
    /// What `SOURCE_DATE_EPOCH` says, else the commit's time.
    pub(crate) time: Option<Timestamp>,
}

impl Source {
    /// What `OOM_PROBE_COMMIT` and `SOURCE_DATE_EPOCH` say, else git, which need not be there.
    ///
    /// # Errors
    /// `SOURCE_DATE_EPOCH` is no number of seconds.
    pub(crate) fn of_workspace() -> Result<Self> {
        let workspace = cmd::workspace().to_string_lossy();
        let git = |arguments: &[&str]| {
            let answer = cmd::answer("git", &[&["-C", &workspace], arguments].concat())?;
            Some(answer.trim().to_owned())
        };
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let epoch =
            variable(EPOCH).or_else(|| git(&["show", "--no-patch", "--format=%ct", "HEAD"]));
        let time = epoch
            .map(|epoch| {
                let seconds = epoch.parse().ok();
                seconds
                    .and_then(|seconds| Timestamp::from_second(seconds).ok())
                    .with_context(|| format!("{EPOCH}={epoch}: no time in seconds"))
            })
            .transpose()?;
        if let Some(revision) = variable(COMMIT) {
            return Ok(Self {
                revision: Some(revision),
                modified: false,
                time,
            });
        }
        let changes = git(&["status", "--porcelain", "--untracked-files=no"]);
        Ok(Self {
            revision: git(&["rev-parse", "HEAD"]),
            modified: changes.is_some_and(|changes| !changes.is_empty()),
            time,
        })
    }

    /// The commit as `--version` shows it.
    pub(crate) fn commit(&self) -> String {
        let Some(revision) = &self.revision else {
            return "unknown".to_owned();
        };
        self.marked(&revision[..revision.len().min(SHORT)])
    }

    /// The whole commit id, marked in the same way.
    pub(crate) fn full_revision(&self) -> Option<String> {
        self.revision
            .as_deref()
            .map(|revision| self.marked(revision))
    }

    fn marked(&self, revision: &str) -> String {
        let mark = if self.modified { "-modified" } else { "" };
        format!("{revision}{mark}")
    }

    /// The day of the commit, UTC; empty if that is not known.
    pub(crate) fn date(&self) -> String {
        self.time.map_or_else(String::new, |time| {
            time.to_zoned(TimeZone::UTC).date().to_string()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(revision: Option<&str>, modified: bool) -> Source {
        Source {
            revision: revision.map(String::from),
            modified,
            time: Some(Timestamp::from_second(1_795_268_719).unwrap()),
        }
    }

    #[test]
    fn a_commit_is_shown_short_and_with_what_was_done_to_it() {
        let id = "f884a0dda01ec55e660453ec840a22b19a2fa5c8";
        let cases = [
            (source(Some(id), false), "f884a0dda01e"),
            (source(Some(id), true), "f884a0dda01e-modified"),
            (source(None, false), "unknown"),
        ];
        for (source, expected) in cases {
            assert_eq!(source.commit(), expected);
        }
        assert_eq!(source(None, false).date(), "2026-11-21");
    }
}
