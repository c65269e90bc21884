//! A scenario's cgroups, as a kubelet makes them: one for the pod, one in it for each container.

use std::env;
use std::path::Path;
use std::process::Command;

use super::{Container, Scenario};
use crate::cgroup::{Cgroup, Error, Hierarchy};

/// The cgroups of a pod, removed on drop with everything that still runs in them.
#[derive(Debug)]
pub struct Stage {
    // Before the pod's, so that it is dropped before it.
    containers: Vec<(&'static Container, Cgroup)>,
    pod: Cgroup,
}

impl Stage {
    /// Makes the cgroups below `name`, relative to the hierarchy's root, and sets their limits:
    /// `limit` in place of each that the scenario has.
    ///
    /// # Errors
    /// As [`Cgroup::create`] and [`Cgroup::set_limit`].
    pub fn set(
        hierarchy: &Hierarchy,
        name: &Path,
        scenario: &'static Scenario,
        limit: Option<u64>,
    ) -> Result<Self, Error> {
        let pod = Cgroup::create(hierarchy, name)?;
        if let Some(own) = scenario.pod_limit {
            pod.set_limit(limit.unwrap_or(own))?;
        }
        let mut containers = Vec::new();
        for container in scenario.containers {
            let cgroup = Cgroup::create(hierarchy, name.join(container.name))?;
            if let Some(own) = container.limit {
                cgroup.set_limit(limit.unwrap_or(own))?;
            }
            containers.push((container, cgroup));
        }
        Ok(Self { containers, pod })
    }

    /// The pod's own cgroup.
    #[must_use]
    pub fn pod(&self) -> &Cgroup {
        &self.pod
    }

    /// The containers and their cgroups, in the order in which they start.
    pub fn containers(&self) -> impl Iterator<Item = (&'static Container, &Cgroup)> {
        self.containers
            .iter()
            .map(|(container, cgroup)| (*container, cgroup))
    }

    /// One container and its cgroup, by its place in the scenario.
    ///
    /// # Panics
    /// The scenario has no such container.
    #[must_use]
    pub fn container(&self, index: usize) -> (&'static Container, &Cgroup) {
        let (container, cgroup) = &self.containers[index];
        (container, cgroup)
    }

    /// OOM kills that the kernel has counted in the containers.
    ///
    /// # Errors
    /// As [`Cgroup::oom_kill_count`].
    pub fn oom_kill_count(&self) -> Result<u64, Error> {
        self.containers()
            .map(|(_, cgroup)| cgroup.oom_kill_count())
            .sum()
    }

    /// Removes the cgroups and ends what runs in them.
    ///
    /// # Errors
    /// As [`Cgroup::remove`].
    pub fn remove(self) -> Result<(), Error> {
        let Self { containers, pod } = self;
        for (_, cgroup) in containers {
            cgroup.remove()?;
        }
        pod.remove()
    }
}

impl Container {
    /// The container's hog. Variables that the caller's environment sets win over the scenario's.
    #[must_use]
    pub fn command(&self, hog: &Path) -> Command {
        let mut command = Command::new(hog);
        command.args(self.arguments);
        for (name, value) in self.environment {
            if env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        command
    }
}
