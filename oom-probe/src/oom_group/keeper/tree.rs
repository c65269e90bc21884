//! Which cgroups are watched and kept: pods' cgroups come, go, and are found again.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{Group, Keeper, RESYNC};
use crate::{
    kube::pod::Pod,
    model::{container::ContainerId, pod::PodUid},
    oom_group::{
        annotation::Asked,
        cgroup_kind::{CgroupKind, Found, MAX_CGROUPS, children, walk},
        file,
        step::Writer,
    },
    sys::escape::Escaped,
};

impl Keeper {
    /// Looks at all cgroups of the node.
    pub(super) fn resync(&mut self, now: Instant) {
        let Some(root) = self.root.clone() else {
            return;
        };
        self.resync_at = Some(now + RESYNC);
        let found = walk(&root, &root, &self.kubepods);
        let there: HashSet<&Path> = found.iter().map(|found| &*found.path).collect();
        let gone = |path: &&PathBuf| !there.contains(&***path);
        let gone: Vec<PathBuf> = self.pods.values().filter(gone).cloned().collect();
        for pod in gone {
            self.removed(&pod);
        }
        let kept: Vec<PathBuf> = self.groups.keys().cloned().collect();
        for cgroup in kept {
            if cgroup.is_dir() {
                if let Some(group) = self.groups.get_mut(&cgroup) {
                    group.retakes = 0;
                }
                self.enter(&cgroup, now);
            } else {
                self.removed(&cgroup);
            }
        }
        self.watch(&root);
        for found in &found {
            self.watch_ways_to(&root, found);
            self.found(&found.path, found.place, now);
        }
    }

    /// Watches the directories in which others like this one will appear.
    fn watch_ways_to(&mut self, root: &Path, found: &Found) {
        let kubepods = self.kubepods.clone();
        let leads_to_pods = |path: &Path| {
            let below_root = path.strip_prefix(root);
            !matches!(
                below_root.map(|path| CgroupKind::of(path, &kubepods)),
                Ok(CgroupKind::Pod(_) | CgroupKind::Container(..) | CgroupKind::Inside(..))
                    | Err(_)
            )
        };
        for path in found.path.ancestors() {
            if !path.starts_with(root) || self.notify.is_watched(path) && path != found.path {
                break;
            }
            if leads_to_pods(path) {
                self.watch(path);
            }
        }
    }

    /// Takes up a directory that is new or was found.
    fn found(&mut self, path: &Path, place: CgroupKind, now: Instant) {
        match place {
            CgroupKind::Pod(uid) => {
                self.pods.insert(uid, path.to_owned());
                if self.is_asked_for(&uid) {
                    self.watch(path);
                }
            }
            CgroupKind::Container(uid, id) | CgroupKind::Inside(uid, id)
                if self.is_asked_for(&uid) =>
            {
                let is_outermost = matches!(place, CgroupKind::Container(..));
                self.add(path, uid, id, is_outermost);
                self.enter(path, now);
            }
            CgroupKind::Container(uid, id) => self.leave_alone(path, uid, id, now),
            CgroupKind::Kubepods | CgroupKind::Inside(..) | CgroupKind::Other => {}
        }
    }

    /// Takes up a directory that was just made.
    pub(super) fn made(&mut self, path: &Path, now: Instant) {
        let Some(root) = self.root.clone() else {
            return;
        };
        let below_root = path.strip_prefix(&root);
        let place = below_root.map_or(CgroupKind::Other, |path| {
            CgroupKind::of(path, &self.kubepods)
        });
        let mut all = vec![Found {
            path: path.to_owned(),
            place,
        }];
        // What was made in it before it was watched.
        match place {
            CgroupKind::Kubepods => self.watch(path),
            CgroupKind::Pod(uid) if self.is_asked_for(&uid) => self.watch(path),
            _ => {}
        }
        if !matches!(place, CgroupKind::Container(..) | CgroupKind::Inside(..)) {
            all.extend(walk(&root, path, &self.kubepods));
        }
        for found in all {
            if found.place != CgroupKind::Other {
                self.watch_ways_to(&root, &found);
            }
            self.found(&found.path, found.place, now);
        }
    }

    /// Forgets a directory and all below.
    pub(super) fn removed(&mut self, path: &Path) {
        self.pods.retain(|_, pod| !pod.starts_with(path));
        let below: Vec<PathBuf> = self
            .groups
            .range(path.to_owned()..)
            .take_while(|(group, _)| group.starts_with(path))
            .map(|(group, _)| group.clone())
            .collect();
        for cgroup in below {
            self.groups.remove(&cgroup);
            self.notify.unwatch(&file::path(&cgroup));
            self.notify.unwatch(&cgroup);
        }
        self.notify.unwatch(path);
    }

    /// Does what a change of the pod means for its cgroups, if they were seen.
    pub(super) fn review(&mut self, uid: &PodUid, pod: &Pod, now: Instant) {
        if Asked::by(pod).is_any() {
            if let Some(path) = self.pods.get(uid).cloned()
                && !self.notify.is_watched(&path)
            {
                self.made(&path, now);
            }
            for cgroup in self.groups_of(uid) {
                self.hold(&cgroup, Writer::Own, now);
            }
            return;
        }
        for cgroup in self.groups_of(uid) {
            self.hold(&cgroup, Writer::Own, now);
            self.removed(&cgroup);
        }
        if let Some(path) = self.pods.get(uid) {
            self.notify.unwatch(path);
        }
    }

    fn groups_of(&self, uid: &PodUid) -> Vec<PathBuf> {
        let of_pod = |(path, group): (&PathBuf, &Group)| (group.pod == *uid).then(|| path.clone());
        // Innermost first: removing one drops those below.
        self.groups.iter().rev().filter_map(of_pod).collect()
    }

    /// Watches a cgroup and those in it, and makes them what they have to be.
    pub(super) fn enter(&mut self, cgroup: &Path, now: Instant) {
        // Before it is read: a write after that is told of.
        let watched = self.notify.watch_file(&file::path(cgroup));
        self.watched(watched, &file::path(cgroup));
        self.hold(cgroup, Writer::Own, now);
        let Some(group) = self.groups.get(cgroup) else {
            return;
        };
        let (uid, id) = (group.pod, group.id);
        self.watch(cgroup);
        for child in children(cgroup) {
            if !self.groups.contains_key(&child) && self.groups.len() < MAX_CGROUPS {
                self.add(&child, uid, id, false);
                self.enter(&child, now);
            }
        }
    }

    fn add(&mut self, cgroup: &Path, pod: PodUid, id: ContainerId, is_outermost: bool) {
        self.groups
            .entry(cgroup.to_owned())
            .or_insert_with(|| Group {
                pod,
                id,
                is_outermost,
                value: None,
                original: None,
                error: None,
                writes: 0,
                last_write: None,
                unseen: 0,
                retakes: 0,
                attempts: 0,
                retry_at: None,
            });
    }

    /// Puts back what this daemon wrote before it was started anew, where nobody asks for it now.
    fn leave_alone(&mut self, cgroup: &Path, uid: PodUid, id: ContainerId, now: Instant) {
        if self.index.by_uid(&uid).is_none() {
            return;
        }
        for inside in children(cgroup) {
            self.leave_alone(&inside, uid, id, now);
        }
        if file::original(cgroup).is_ok_and(|original| original.is_some()) {
            let is_outermost = matches!(self.place(cgroup), CgroupKind::Container(..));
            self.add(cgroup, uid, id, is_outermost);
            self.hold(cgroup, Writer::Own, now);
            self.removed(cgroup);
        }
    }

    fn place(&self, cgroup: &Path) -> CgroupKind {
        let root = self.root.as_deref();
        let below_root = root.and_then(|root| cgroup.strip_prefix(root).ok());
        below_root.map_or(CgroupKind::Other, |path| {
            CgroupKind::of(path, &self.kubepods)
        })
    }

    fn is_asked_for(&self, uid: &PodUid) -> bool {
        self.index
            .by_uid(uid)
            .is_some_and(|pod| Asked::by(&pod).is_any())
    }

    fn watch(&mut self, directory: &Path) {
        let watched = self.notify.watch_directory(directory);
        self.watched(watched, directory);
    }

    fn watched(&mut self, watched: io::Result<()>, path: &Path) {
        let Err(error) = watched else { return };
        // What is gone, or not there yet, is not the watch's trouble.
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        self.metrics.failed();
        if self.logged.replace(error.kind()) != Some(error.kind()) {
            let seconds = RESYNC.as_secs();
            tracing::warn!(
                "cannot watch {}: {error}; it is looked at every {seconds} s instead; \
                 fs.inotify.max_user_watches may be too low",
                Escaped::path(path)
            );
        }
    }
}
