//! `memory.oom.group`, as the kubelet sets it on cgroup v2 since 1.28.

use oom_probe::labels::{Attribution, Role};

use super::stage::{PodPlace, Stage};
use super::wanted::Wanted;
use crate::apiserver::pods::{container_id, pod, uid};
use crate::container::start_init;
use crate::kubelet::{Class, Driver, Runtime};
use crate::world::{Running, World};

const PROCESSES: u64 = 8;

/// A whole container with eight processes, and right after it a child of the restarted one.
pub(super) fn play(world: &World, driver: Driver) -> usize {
    let mut stage = Stage::start(world, driver, &[pod("cart", 1).running("app", 1)]);
    let uid = uid(1);
    let place = PodPlace(Class::Burstable, &uid);
    let first = stage.container(place, Runtime::Containerd, &container_id(1));
    stage.cgroup(first).set_oom_group(true).unwrap();
    whole(&stage, first).wait_killed();
    let after = pod("cart", 1).restarted("app", 2, 1, "12:00:20");
    stage.server.apply(&after);

    let second = stage.container(place, Runtime::Containerd, &container_id(2));
    stage.child_dies(second);
    let wanted = Wanted {
        kills: PROCESSES + 1,
        died: 1,
        survived: 1,
        attribution: &[Attribution::Live, Attribution::Tombstone, Attribution::Late],
        // The second has to wait for five minutes.
        reasons: &["OOMKilled"],
    };
    stage.want("cart", "app", wanted);
    stage.conclude();

    let records = stage.records_of("cart");
    let of_group = records
        .iter()
        .filter(|record| record.kill.role == Role::Group);
    assert_eq!(of_group.count() as u64, PROCESSES - 1);
    let events = stage.server.events();
    let note = events[0]["message"].as_str().unwrap_or_default();
    let more = records
        .iter()
        .filter(|record| record.kill.role == Role::Group);
    let whole = format!("and {} more processes of this container", more.count());
    assert!(note.contains(&whole), "{note}");
    records.len()
}

/// PID 1 and seven others, one of which grows.
fn whole(stage: &Stage<'_>, container: usize) -> Running {
    let processes = PROCESSES.to_string();
    let hog = [
        "group",
        "--processes",
        &processes,
        "--each",
        "256K",
        "--step",
        "4M",
        "--interval",
        "20ms",
    ];
    start_init(stage.cgroup(container), stage.world.hog(&hog))
}
