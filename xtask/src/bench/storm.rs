//! Kills made on purpose, each in a cgroup of its own that is removed at once, and what became of
//! them in somebody's account.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use hog::cgroup::{Cgroup, Hierarchy, Version};

use super::log::Told;
use super::share::Share;
use super::tidy;

/// What a process may take before it is killed, bytes.
const LIMIT: u64 = 8 << 20;

/// How many kills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storm {
    cgroups: u32,
    /// Processes in each of them: one grows, and more than one die together by `memory.oom.group`.
    members: u32,
    /// Processes that grow at the same time.
    parallel: u32,
}

/// A kill that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) pid: u32,
    pub(super) cgroup: String,
}

/// The kills, and how long they took.
pub(super) struct Raged {
    pub(super) made: Vec<Made>,
    pub(super) took: Duration,
}

/// How somebody's account compares with what was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) made: usize,
    /// Told once, in the right cgroup.
    pub(super) right: usize,
    /// Told, but without a cgroup or in another.
    pub(super) unattributed: usize,
    /// Told again.
    pub(super) twice: usize,
}

impl Storm {
    /// So many processes, each alone in its cgroup.
    pub(super) fn alone(kills: u32, parallel: u32) -> Self {
        Self {
            cgroups: kills,
            members: 1,
            parallel,
        }
    }

    /// So many groups of three, one after another; cgroup v1 has none.
    pub(super) fn groups(cgroups: u32) -> Self {
        Self {
            cgroups,
            members: 3,
            parallel: 1,
        }
    }

    /// Processes that are killed.
    pub(super) fn kills(self) -> u32 {
        self.cgroups * self.members
    }

    /// The longest that it may take on a slow machine.
    pub(super) fn patience(self) -> Duration {
        Duration::from_millis(500) * self.kills() + Duration::from_secs(10)
    }

    /// Makes the kills.
    ///
    /// # Errors
    /// A cgroup cannot be made, or a process is not killed.
    pub(super) fn rage(self, hog: &Path) -> Result<Raged> {
        let hierarchy = Hierarchy::detect()?;
        let name = tidy::name();
        let parent = Cgroup::create(&hierarchy, &name)?;
        let share = Share::of_hogs()?;
        let next = AtomicU32::new(0);
        let began = Instant::now();
        let made = thread::scope(|scope| {
            let one_by_one = || -> Result<Vec<Made>> {
                if let Some(share) = &share {
                    share.enter()?;
                }
                let mut made = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= self.cgroups {
                        return Ok(made);
                    }
                    let cgroup = Cgroup::create(&hierarchy, format!("{name}/{n}"))?;
                    made.extend(kill(&cgroup, self.members, hog)?);
                    cgroup.remove()?;
                }
            };
            let threads: Vec<_> = (0..self.parallel)
                .map(|_| scope.spawn(one_by_one))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
                .collect::<Result<Vec<_>>>()
        });
        let took = began.elapsed();
        parent.remove()?;
        Ok(Raged {
            made: made?.concat(),
            took,
        })
    }
}

/// Lets one process grow in that cgroup until it is killed, and all others there with it.
fn kill(cgroup: &Cgroup, members: u32, hog: &Path) -> Result<Vec<Made>> {
    cgroup.set_limit(LIMIT)?;
    if members > 1 {
        cgroup.set_oom_group(true)?;
    }
    let spawn = |arguments: &[&str]| {
        let mut command = Command::new(hog);
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        cgroup.spawn(command)
    };
    let mut children = (1..members)
        .map(|_| spawn(&["hold", "64K"]))
        .collect::<Result<Vec<_>, _>>()?;
    children.push(spawn(&["grow", "--step", "4M", "--interval", "0"])?);
    let mut made = Vec::new();
    // Whoever grows is waited for first: where it is not killed, nobody else is.
    for mut child in children.into_iter().rev() {
        let pid = child.id();
        let status = child.wait()?;
        if status.signal() != Some(libc::SIGKILL) {
            bail!("a process that was to be killed ended with {status}");
        }
        made.push(Made {
            pid,
            cgroup: cgroup.path().display().to_string(),
        });
    }
    Ok(made)
}

/// What the kernel allows: cgroup v1 has no group kills.
pub(super) fn kills_groups() -> Result<bool> {
    Ok(Hierarchy::detect()?.version == Version::V2)
}

impl Account {
    /// Others' kills are left out: whoever tells may tell of the whole machine.
    pub(super) fn of(made: &[Made], told: &[Told]) -> Self {
        let mut times: HashMap<u32, (usize, usize)> = HashMap::new();
        let paths: HashMap<u32, &str> = made
            .iter()
            .map(|made| (made.pid, made.cgroup.as_str()))
            .collect();
        for told in told {
            if let Some(path) = paths.get(&told.pid) {
                let (all, right) = times.entry(told.pid).or_default();
                *all += 1;
                *right += usize::from(told.cgroup.as_deref() == Some(path));
            }
        }
        let count = |is: fn(&(usize, usize)) -> bool| times.values().filter(|t| is(t)).count();
        Self {
            made: made.len(),
            right: count(|(_, right)| *right > 0),
            unattributed: count(|(_, right)| *right == 0),
            twice: count(|(all, _)| *all > 1),
        }
    }

    /// Kills that are missing, told without their cgroup, or told again.
    pub(super) fn wrong(self) -> usize {
        self.made - self.right + self.twice
    }

    pub(super) fn text(self) -> String {
        let Self {
            made,
            right,
            unattributed,
            twice,
        } = self;
        let missing = made - right - unattributed;
        let mut text = format!("{right} of {made}");
        for (number, what) in [
            (missing, "not told"),
            (unattributed, "without the cgroup"),
            (twice, "twice"),
        ] {
            if number > 0 {
                text = format!("{text}; {number} {what}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn told(pid: u32, cgroup: Option<&str>) -> Told {
        Told {
            pid,
            cgroup: cgroup.map(String::from),
            killed: None,
            seen: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_account_is_held_against_what_was_made() {
        let made: Vec<_> = (1..=5)
            .map(|pid| Made {
                pid,
                cgroup: format!("/{pid}"),
            })
            .collect();
        let all = [
            told(1, Some("/1")),
            told(2, Some("/2")),
            told(2, Some("/2")),
            told(3, None),
            told(4, Some("/")),
            told(99, Some("/99")),
        ];
        let account = Account::of(&made, &all);
        assert_eq!(
            account.text(),
            "2 of 5; 1 not told; 2 without the cgroup; 1 twice"
        );
        assert_eq!(account.wrong(), 4);
        assert_eq!(Account::of(&made[..1], &all[..1]).wrong(), 0);
    }
}
