//! Keeps `memory.oom.group` of annotated pods' containers at what is asked for: fed with pods and with
//! what happens to cgroups.
//!
//! All of a container's cgroups get the value: its own, and those that are made below it. The kernel
//! takes the topmost cgroup with the flag between victim and limit (mm/memcontrol.c,
//! `mem_cgroup_get_oom_group`), so that a runtime's cgroup inside of the container's (crun's
//! `container`) matters as much.

mod tree;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    annotation::{Asked, Refusal, Setting, refusals},
    file,
    metrics::{Metrics, Reason},
    notice::Notice,
    notify::{Change, Changes, Notify},
    step::{Step, Wanted, Writer, step, wanted},
};
use crate::{
    cgroup::{hierarchy::MemoryRoot, kubepods::Kubepods},
    kube::{PodEvent, index::Index, object, pod::Pod},
    model::{container::ContainerId, pod::PodUid},
};

/// How often everything is looked at, whatever was told: what no watch tells of is found so.
const RESYNC: Duration = Duration::from_secs(60);
/// How often one cgroup is written anew between two looks at everything. A runtime writes once when
/// it sets a container up and once for each resize.
const MAX_RETAKES: u32 = 50;
/// When a cgroup is tried again whose file is not there yet: its parent gets the memory controller
/// a moment later.
const RETRIES: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
];

/// The cgroups of annotated pods' containers, and what they are kept at.
#[derive(Debug)]
pub struct Keeper {
    /// Absent on cgroup v1, where there is nothing to set.
    root: Option<PathBuf>,
    kubepods: Kubepods,
    notify: Notify,
    index: Index,
    metrics: Metrics,
    /// The first list of pods is there.
    synced: bool,
    /// The cgroups of pods, by what the kubelet calls the pod.
    pods: HashMap<PodUid, PathBuf>,
    /// Cgroups of containers of annotated pods.
    groups: BTreeMap<PathBuf, Group>,
    resync_at: Option<Instant>,
    notices: Vec<Notice>,
    told: HashMap<PodUid, HashSet<Told>>,
    /// The last kind of error that the log has.
    logged: Option<io::ErrorKind>,
}

/// A cgroup of a container.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) pod: PodUid,
    pub(super) id: ContainerId,
    /// The container's own cgroup, not one inside.
    pub(super) is_outermost: bool,
    /// The value when it was last looked at.
    pub(super) value: Option<Setting>,
    /// What it was before this daemon wrote.
    pub(super) original: Option<Setting>,
    /// Why it could not be read or written.
    pub(super) error: Option<String>,
    /// Times that this daemon wrote.
    pub(super) writes: u64,
    pub(super) last_write: Option<Timestamp>,
    /// Own writes that the watch has not told of yet.
    unseen: u32,
    /// Own writes since the last look at everything.
    retakes: u32,
    /// Times that it was tried in vain, and when it is tried again.
    attempts: usize,
    retry_at: Option<Instant>,
}

/// What was said about a pod already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Told {
    Held(Arc<str>, Setting),
    Refused(Refusal),
    Unsupported,
}

impl Keeper {
    /// Without any pod.
    ///
    /// # Errors
    /// There is no inotify instance to be had.
    pub fn new(root: &MemoryRoot, kubepods: Kubepods, metrics: Metrics) -> io::Result<Self> {
        let is_v2 = root.hierarchy.memory_version() == 2;
        metrics.set_supported(is_v2);
        Ok(Self {
            root: is_v2.then(|| root.path.clone()),
            kubepods,
            notify: Notify::new()?,
            index: Index::default(),
            metrics,
            synced: false,
            pods: HashMap::new(),
            groups: BTreeMap::new(),
            resync_at: None,
            notices: Vec::new(),
            told: HashMap::new(),
            logged: None,
        })
    }

    /// Whether this node's cgroups have `memory.oom.group`.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        self.root.is_some()
    }

    /// Takes what the watch tells about pods.
    pub fn on_pods(&mut self, event: PodEvent, now: Instant) {
        match event {
            PodEvent::ListStarts => self.index.begin_list(),
            PodEvent::Listed(object) | PodEvent::Applied(object) => self.apply(&object, now),
            PodEvent::Deleted(object) => {
                if let Some(pod) = self.index.delete(&object, now) {
                    self.told.remove(&pod.uid);
                }
            }
            PodEvent::Synced { listed } => {
                if listed {
                    for pod in self.index.finish_list(now) {
                        self.told.remove(&pod.uid);
                    }
                    self.synced = true;
                    self.resync(now);
                }
            }
            PodEvent::Away => {}
        }
    }

    fn apply(&mut self, object: &object::Pod, now: Instant) {
        let pod = match self.index.apply(object, now) {
            Ok(pod) => pod,
            Err(refused) => {
                tracing::warn!("a pod is left out: {refused}");
                return;
            }
        };
        for refusal in refusals(&pod) {
            if self.tell(&pod, Told::Refused(refusal.clone())) {
                self.notices.push(Notice::Refused(pod.clone(), refusal));
            }
        }
        if !self.is_supported() {
            if Asked::by(&pod).is_any() && self.tell(&pod, Told::Unsupported) {
                self.notices.push(Notice::Unsupported(pod));
            }
        } else if self.synced {
            for uid in [Some(pod.uid), pod.config_hash].into_iter().flatten() {
                self.review(&uid, &pod, now);
            }
        }
    }

    /// Whether it was not told before.
    fn tell(&mut self, pod: &Pod, what: Told) -> bool {
        self.told.entry(pod.uid).or_default().insert(what)
    }

    /// Takes what happened to cgroups since the last call; true if there may be more.
    ///
    /// # Errors
    /// The kernel's queue cannot be read.
    pub fn on_changes(&mut self, now: Instant) -> io::Result<bool> {
        let Changes { changes, more } = self.notify.changes()?;
        for change in changes {
            match change {
                Change::Made(path) => self.made(&path, now),
                Change::Removed(path) => self.removed(&path),
                Change::Written(file) => {
                    if let Some(cgroup) = file.parent() {
                        self.written(cgroup, now);
                    }
                }
                Change::Overflow => self.resync(now),
            }
        }
        Ok(more)
    }

    fn written(&mut self, cgroup: &Path, now: Instant) {
        let Some(group) = self.groups.get_mut(cgroup) else {
            return;
        };
        let writer = if group.unseen > 0 {
            group.unseen -= 1;
            Writer::Own
        } else {
            Writer::Other
        };
        self.hold(cgroup, writer, now);
    }

    /// Looks at a cgroup and makes it what it has to be.
    fn hold(&mut self, cgroup: &Path, writer: Writer, now: Instant) {
        let Some(group) = self.groups.get(cgroup) else {
            return;
        };
        let Some(pod) = self.index.by_uid(&group.pod) else {
            return;
        };
        let (name, wanted) = wanted(&pod, &group.id);
        let is_outermost = group.is_outermost;
        let done = read(cgroup).and_then(|(value, original)| {
            let step = step(wanted, value, original, writer);
            self.take(cgroup, step, value, original, now)
        });
        if done.is_ok()
            && let Some(group) = self.groups.get_mut(cgroup)
        {
            // Only now: what can be read may still not take a write.
            (group.attempts, group.retry_at) = (0, None);
        }
        match done {
            Ok(step) if is_outermost => self.announce(&pod, name, wanted, step),
            Ok(_) => {}
            Err(error) => self.failed(cgroup, &error, now),
        }
    }

    /// Does the step; the cgroup is then as told.
    fn take(
        &mut self,
        cgroup: &Path,
        step: Step,
        value: Setting,
        original: Option<Setting>,
        began: Instant,
    ) -> io::Result<Step> {
        let Some(group) = self.groups.get_mut(cgroup) else {
            return Ok(Step::Nothing);
        };
        group.error = None;
        (group.value, group.original) = (Some(value), original);
        let (write, reason) = match step {
            Step::Nothing => return Ok(step),
            Step::Forget => {
                file::forget(cgroup)?;
                group.original = None;
                return Ok(step);
            }
            Step::Take(setting) => {
                // Without a note it would stay after the annotation has gone: that is the lesser evil.
                if let Err(error) = file::remember(cgroup, value) {
                    tracing::debug!("{}: no note: {error}", file::shown(cgroup));
                }
                group.original = Some(value);
                (setting, Reason::Asked)
            }
            Step::Retake(_) if group.retakes >= MAX_RETAKES => {
                group.error = Some(format!(
                    "something else keeps writing {value}: written {MAX_RETAKES} times within {} s",
                    RESYNC.as_secs()
                ));
                return Ok(Step::Nothing);
            }
            Step::Retake(setting) => (setting, Reason::Overwritten),
            Step::PutBack(setting) => (setting, Reason::PutBack),
        };
        file::write(cgroup, write)?;
        group.value = Some(write);
        group.unseen += u32::from(self.notify.is_watched(&file::path(cgroup)));
        group.retakes += 1;
        group.writes += 1;
        group.last_write = Some(Timestamp::now());
        if let Step::PutBack(_) = step {
            file::forget(cgroup)?;
            group.original = None;
        }
        self.metrics.wrote(reason, began.elapsed());
        tracing::info!("{}: {write}, {reason}", file::shown(cgroup));
        Ok(step)
    }

    /// Tells of what holds for a container, once.
    fn announce(&mut self, pod: &Arc<Pod>, name: Option<&str>, wanted: Wanted, step: Step) {
        let Some(container) = name.and_then(|name| pod.container(name)) else {
            return;
        };
        let name = container.name.clone();
        if let Wanted::Hold(setting) = wanted
            && self.tell(pod, Told::Held(name.clone(), setting))
        {
            self.notices.push(Notice::Held(pod.clone(), name, setting));
        } else if let (Wanted::Leave, Step::PutBack(setting)) = (wanted, step) {
            let told = self.told.entry(pod.uid).or_default();
            told.retain(|told| !matches!(told, Told::Held(held, _) if *held == name));
            self.notices
                .push(Notice::PutBack(pod.clone(), name, setting));
        }
    }

    fn failed(&mut self, cgroup: &Path, error: &io::Error, now: Instant) {
        if !cgroup.is_dir() {
            return self.removed(cgroup);
        }
        let Some(group) = self.groups.get_mut(cgroup) else {
            return;
        };
        group.error = Some(error.to_string());
        if error.kind() == io::ErrorKind::NotFound
            && let Some(pause) = RETRIES.get(group.attempts)
        {
            group.attempts += 1;
            group.retry_at = Some(now + *pause);
            return;
        }
        (group.attempts, group.retry_at) = (0, None);
        self.metrics.failed();
        if self.logged.replace(error.kind()) != Some(error.kind()) {
            tracing::warn!("cannot set {}: {error}", file::shown(cgroup));
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (path, group) in &mut self.groups {
            // Whatever comes of it, it is over: what is due for ever would be tried without a pause.
            if group.retry_at.take_if(|at| *at <= now).is_some() {
                due.push(path.clone());
            }
        }
        for cgroup in due {
            self.enter(&cgroup, now);
        }
        if self.resync_at.is_some_and(|at| at <= now) {
            self.resync(now);
        }
    }

    /// When [`Keeper::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let retries = self.groups.values().filter_map(|group| group.retry_at);
        retries.chain(self.resync_at).min()
    }

    /// What is to be told since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(super) fn groups(&self) -> &BTreeMap<PathBuf, Group> {
        &self.groups
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

impl AsFd for Keeper {
    /// Readable when [`Keeper::on_changes`] has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notify.as_fd()
    }
}

fn read(cgroup: &Path) -> io::Result<(Setting, Option<Setting>)> {
    Ok((file::read(cgroup)?, file::original(cgroup)?))
}

#[cfg(test)]
mod tests;
