//! The series over a restart.

use std::time::{Duration, Instant};

use super::{Containers, Store};
use crate::journal::series::{StoredContainer, StoredWorkload};

impl Containers {
    /// Everything that has counted; zeros come back with their pods.
    #[must_use]
    pub fn export(&self, now: Instant) -> (Vec<StoredContainer>, Vec<StoredWorkload>) {
        let mut store = self.store();
        store.expire(now);
        let containers = store.containers.export(now).map(|(key, counts, idle)| {
            let (key, counts) = (key.clone(), counts.clone());
            StoredContainer {
                key,
                counts,
                idle_s: idle.as_secs(),
            }
        });
        let workloads = store.workloads.export(now).map(|(key, counts, idle)| {
            let (key, counts) = (key.clone(), *counts);
            StoredWorkload {
                key,
                counts,
                idle_s: idle.as_secs(),
            }
        });
        (containers.collect(), workloads.collect())
    }

    /// Goes on with what a container had counted.
    pub fn restore_container(&self, stored: StoredContainer, now: Instant) {
        let StoredContainer {
            key,
            counts,
            idle_s,
        } = stored;
        let Store { containers, .. } = &mut *self.store();
        containers.restore(key, counts, used(now, idle_s));
    }

    /// Goes on with what a workload had counted.
    pub fn restore_workload(&self, stored: StoredWorkload, now: Instant) {
        let StoredWorkload {
            key,
            counts,
            idle_s,
        } = stored;
        let Store { workloads, .. } = &mut *self.store();
        workloads.restore(key, counts, used(now, idle_s));
    }
}

/// A machine may have been up for less than a series was idle.
fn used(now: Instant, idle_s: u64) -> Instant {
    now.checked_sub(Duration::from_secs(idle_s)).unwrap_or(now)
}
