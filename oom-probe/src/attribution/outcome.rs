//! What became of a container in an OOM event: it died, or it survived.
//!
//! It is `died` at once when the container's init is a victim, or when `memory.oom.group` asks for
//! the whole container. Else the container is looked at again after the event's last victim: a shell
//! that fails a moment after its child was killed did not survive, one that exits with 0 did. Kills
//! are counted elsewhere and at once; what is settled here is the event, once for each container that
//! lost a process in it.

mod judge;
mod container_at;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    cgroup_path::names as names_of,
    container::ContainerId,
    kill::{Kill, PodRef, Record, SANDBOX},
    labels::{Outcome, Role, VictimKind},
};
pub use judge::{LOOKS, Signs};
use judge::{STATUS_WITHIN, judge};

/// Events under observation; beyond that the oldest is settled by its next look.
const MAX_PENDING: usize = 1024;
/// Settled events whose further victims are still recognised.
const MAX_SETTLED: usize = 256;

/// The OOM events of containers that are not settled yet.
#[derive(Debug, Default)]
pub struct Outcomes {
    pending: VecDeque<Pending>,
    settled: VecDeque<(Instant, Key)>,
}

/// One container's part in an OOM event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    event: Box<str>,
    pod: Option<String>,
    container: Option<String>,
    container_id: Option<String>,
}

#[derive(Debug)]
struct Pending {
    key: Key,
    kill: Box<Record>,
    kills: u32,
    last_victim: Timestamp,
    base: Instant,
    looks: usize,
}

/// An event whose outcome is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// What became of the container.
    pub outcome: Outcome,
    /// The container's first victim, the kernel's chosen one if it was in this container.
    pub kill: Box<Record>,
    /// Processes of the container that were killed until now.
    pub kills: u32,
}

impl Settled {
    /// One more process of the container was killed in the event.
    pub(crate) fn add(&mut self, record: &Record) {
        let Self { kill, kills, .. } = self;
        add(record, kill, kills);
    }
}

/// An event that is not settled, for going on with it after a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsettled {
    /// The container's first victim, the kernel's chosen one if it was in this container.
    pub kill: Box<Record>,
    /// Processes of the container that were killed until now.
    pub kills: u32,
    /// When the last of them was.
    pub last_victim: Timestamp,
}

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub struct ContainerAt<'a> {
    /// Cgroup of the container, from the node's own root; absent where that is not known.
    pub cgroup: Option<&'a [u8]>,
    /// The run of the container.
    pub id: Option<ContainerId>,
}

impl Outcomes {
    /// Takes a kill. Settles the event if the container died with it for sure.
    pub fn on_kill(&mut self, record: &Record, now: Instant, wall: Timestamp) -> Option<Settled> {
        let key = Key::of(record)?;
        if self.settled.iter().any(|(_, settled)| *settled == key) {
            return None;
        }
        let known = self.pending.iter().position(|pending| pending.key == key);
        let mut pending = known
            .and_then(|at| self.pending.remove(at))
            .unwrap_or_else(|| Pending::new(key, record, now));
        pending.add(record, now, wall);
        if ends_the_container(record) {
            return Some(self.settle(pending, Outcome::Died, now));
        }
        self.pending.push_back(pending);
        None
    }

    /// Looks at the containers whose time has come.
    pub fn tick(
        &mut self,
        now: Instant,
        look: impl FnMut(ContainerAt<'_>) -> Signs,
    ) -> Vec<Settled> {
        let surplus = self.pending.len().saturating_sub(MAX_PENDING);
        let since = |at: usize, pending: &Pending| {
            if at < surplus {
                return Some(STATUS_WITHIN);
            }
            (pending.due() <= now).then(|| pending.since(now))
        };
        self.look(now, since, look)
    }

    /// Looks at the containers of the pod with that UID, of which there is a new status.
    pub fn on_status(
        &mut self,
        pod: &str,
        now: Instant,
        look: impl FnMut(ContainerAt<'_>) -> Signs,
    ) -> Vec<Settled> {
        let since = |_: usize, pending: &Pending| {
            let is_of = pending.key.pod.as_deref() == Some(pod);
            is_of.then(|| pending.since(now))
        };
        self.look(now, since, look)
    }

    /// Looks at all containers a last time: who is not seen to have ended has survived.
    pub fn conclude(
        &mut self,
        now: Instant,
        look: impl FnMut(ContainerAt<'_>) -> Signs,
    ) -> Vec<Settled> {
        self.look(now, |_, _| Some(STATUS_WITHIN), look)
    }

    /// The events that are not settled, in the order in which they came.
    pub fn unsettled(&self) -> impl Iterator<Item = Unsettled> {
        self.pending.iter().map(|pending| Unsettled {
            kill: pending.kill.clone(),
            kills: pending.kills,
            last_victim: pending.last_victim,
        })
    }

    /// The events that are settled, as long as further victims of theirs may come.
    pub fn recent(&self) -> impl Iterator<Item = &Key> {
        self.settled.iter().map(|(_, key)| key)
    }

    /// Goes on with an event of before a restart.
    pub fn restore(&mut self, unsettled: Unsettled, now: Instant, wall: Timestamp) {
        let Unsettled {
            kill,
            kills,
            last_victim,
        } = unsettled;
        if let Some(key) = Key::of(&kill) {
            let mut pending = Pending::new(key, &kill, now);
            pending.kills = kills;
            pending.last_victim = last_victim;
            pending.base = base(last_victim, now, wall);
            self.pending.push_back(pending);
        }
    }

    /// Recognises further victims of an event that was settled before a restart.
    pub fn restore_recent(&mut self, key: Key, now: Instant) {
        self.settled.push_back((now, key));
    }

    /// Settles an event as it was settled before a restart.
    pub fn resolve(&mut self, key: &Key, outcome: Outcome, now: Instant) -> Option<Settled> {
        let at = self
            .pending
            .iter()
            .position(|pending| pending.key == *key)?;
        let pending = self.pending.remove(at)?;
        Some(self.settle(pending, outcome, now))
    }

    /// Settles every event so: the machine has been started anew since.
    pub fn resolve_all(&mut self, outcome: Outcome, now: Instant) -> Vec<Settled> {
        let pending = std::mem::take(&mut self.pending);
        let settled = pending.into_iter();
        settled
            .map(|pending| self.settle(pending, outcome, now))
            .collect()
    }

    /// Looks at those for which `since` tells how long ago their last victim is to be taken for.
    fn look(
        &mut self,
        now: Instant,
        since: impl Fn(usize, &Pending) -> Option<Duration>,
        mut look: impl FnMut(ContainerAt<'_>) -> Signs,
    ) -> Vec<Settled> {
        let mut settled = Vec::new();
        for (at, mut pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let Some(since) = since(at, &pending) else {
                self.pending.push_back(pending);
                continue;
            };
            let signs = look(ContainerAt::of(&pending.kill.kill));
            match judge(signs, pending.last_victim, since, pending.status_within()) {
                Some(outcome) => settled.push(self.settle(pending, outcome, now)),
                None => {
                    pending.looks = LOOKS.iter().filter(|look| **look <= since).count();
                    self.pending.push_back(pending);
                }
            }
        }
        settled
    }

    /// When [`Outcomes::tick`] has something to do.
    pub fn next_tick(&self) -> Option<Instant> {
        self.pending.iter().map(Pending::due).min()
    }

    fn settle(&mut self, pending: Pending, outcome: Outcome, now: Instant) -> Settled {
        let over = now.checked_sub(STATUS_WITHIN);
        while self.settled.len() >= MAX_SETTLED
            || self.settled.front().is_some_and(|(at, _)| Some(*at) < over)
        {
            self.settled.pop_front();
        }
        self.settled.push_back((now, pending.key));
        Settled {
            outcome,
            kill: pending.kill,
            kills: pending.kills,
        }
    }
}

impl Key {
    /// Id of the OOM event.
    pub(crate) fn event(&self) -> &str {
        &self.event
    }

    /// Absent for kills whose pod has no name.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let pod = record.pod.as_ref()?;
        let PodRef {
            namespace: Some(_),
            name: Some(_),
            uid,
            container,
            container_id,
            ..
        } = pod
        else {
            return None;
        };
        Some(Self {
            event: record.kill.event.as_str().into(),
            pod: uid.clone(),
            container: container.clone(),
            container_id: container_id.clone(),
        })
    }
}

impl Pending {
    fn new(key: Key, record: &Record, now: Instant) -> Self {
        Self {
            key,
            kill: Box::new(record.clone()),
            kills: 0,
            last_victim: record.kill.time,
            base: now,
            looks: 0,
        }
    }

    fn add(&mut self, record: &Record, now: Instant, wall: Timestamp) {
        add(record, &mut self.kill, &mut self.kills);
        self.last_victim = self.last_victim.max(record.kill.time);
        self.base = base(self.last_victim, now, wall);
        self.looks = 0;
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.base)
    }

    /// No status tells of a sandbox, nor of the pod's own cgroup: for those none is waited for.
    fn status_within(&self) -> Duration {
        let is_container = self.kill.kill.identity.container.is_some();
        if is_container && self.key.container.as_deref() != Some(SANDBOX) {
            STATUS_WITHIN
        } else {
            Duration::ZERO
        }
    }

    fn due(&self) -> Instant {
        self.base + LOOKS.get(self.looks).copied().unwrap_or(STATUS_WITHIN)
    }
}

/// One more kill of an event: the kernel's chosen victim stands for it.
fn add(record: &Record, kill: &mut Record, kills: &mut u32) {
    *kills = kills.saturating_add(1);
    if record.kill.role == Role::Primary && kill.kill.role != Role::Primary {
        *kill = record.clone();
    }
}

/// When the last victim was, by the clock that waiting goes by.
fn base(last_victim: Timestamp, now: Instant, wall: Timestamp) -> Instant {
    let age = Duration::try_from(wall.duration_since(last_victim)).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

fn ends_the_container(record: &Record) -> bool {
    let kill = &record.kill;
    let container = record.pod.as_ref().and_then(|pod| pod.container.as_deref());
    if kill.victim.kind == VictimKind::Init && container != Some(SANDBOX) {
        return true;
    }
    let group = kill
        .domain
        .as_ref()
        .and_then(|domain| domain.group_path.as_ref());
    match (group, container_cgroup(kill)) {
        (Some(group), Some(container)) => is_at_or_above(group.as_bytes(), container),
        _ => false,
    }
}

/// Cgroup of the victim's container, from the root of the hierarchy; of its pod, where it was in
/// none.
fn container_cgroup(kill: &Kill) -> Option<&[u8]> {
    let is_whole = kill.cgroup.as_ref()?.path.as_ref()?.begins_at_root();
    let path = path_up_to(kill, container_level(kill)?).filter(|_| is_whole)?;
    (!path.is_empty()).then_some(path)
}

/// The same from the node's own root, which is all that a node sees that is itself a container.
fn seen_from_node(kill: &Kill) -> Option<&[u8]> {
    let Some(root) = kill.node_root_level else {
        return container_cgroup(kill);
    };
    let level = container_level(kill)?;
    let path = path_up_to(kill, level)?;
    let names = root.checked_sub(level).filter(|names| *names > 0)?;
    let below: usize = names_of(path).take(names).map(|name| name.len() + 1).sum();
    path.get(path.len().checked_sub(below)?..)
}

/// How many levels above the victim's own cgroup.
fn container_level(kill: &Kill) -> Option<usize> {
    let identity = &kill.identity;
    match identity.container {
        Some(_) => identity.container_level,
        None => identity.pod_level,
    }
}

/// Path of the victim's cgroup without the lowest levels.
fn path_up_to(kill: &Kill, level: usize) -> Option<&[u8]> {
    let path = kill.cgroup.as_ref()?.path.as_ref()?.as_bytes();
    let below: usize = names_of(path).take(level).map(|name| name.len() + 1).sum();
    path.get(..path.len().checked_sub(below)?)
}

fn is_at_or_above(cgroup: &[u8], other: &[u8]) -> bool {
    match other.strip_prefix(cgroup) {
        Some(below) => below.is_empty() || below.starts_with(b"/"),
        None => false,
    }
}

#[cfg(test)]
mod tests;
