//! `memory.oom.group`, as the kubelet sets it on cgroup v2 since 1.28.

use std::collections::BTreeSet;

use crate::{
    apiserver::pods::{container_id, pod, uid},
    container::start_init,
    kernel_log::KernelLog,
    kubelet::{Class, Driver, Runtime},
    world::{Running, World},
};
use capture::model::{
    kill::Record,
    labels::{Attribution, Role},
};

use super::super::group::{LOOSE, SLOWLY, complete};
use super::stage::{PodPlace, Stage};
use super::wanted::Wanted;

const PROCESSES: usize = 8;

/// A whole container with eight processes, and right after it a child of the restarted one.
///
/// PID 1 is a member as any other. Once the pass over the group has sent it SIGKILL, its end kills
/// what is left in its PID namespace (kernel/pid_namespace.c `zap_pid_ns_processes`), and the pass,
/// still under way, leaves out who is gone by then: a dying leader in `css_task_iter_advance`, one
/// without its mm in `__oom_kill_process`. So not all of the eight need be OOM kills: the kernel's
/// log says which are.
pub(super) fn play(world: &World, driver: Driver) -> usize {
    let mut stage = Stage::start(world, driver, &[pod("cart", 1).running("app", 1)]);
    let uid = uid(1);
    let place = PodPlace(Class::Burstable, &uid);
    let first = stage.container(place, Runtime::Containerd, &container_id(1));
    stage.cgroup(first).set_oom_group(true).unwrap();
    stage.cgroup(first).set_limit(LOOSE).unwrap();
    let mut log = KernelLog::from_now();
    let mut init = whole(&stage, first);
    let members = complete(stage.cgroup(first), PROCESSES);
    init.wait_killed();
    let after = pod("cart", 1).restarted("app", 2, 1, "12:00:20");
    stage.server.apply(&after);

    let second = stage.container(place, Runtime::Containerd, &container_id(2));
    stage.child_dies(second);
    // By now the pass is over: that was another OOM event, under the same lock.
    let killed = log.killed_of(&members);
    assert!(killed.contains(&init.pid()), "{killed:?} of {members:?}");
    let wanted = Wanted {
        kills: killed.len() as u64 + 1,
        died: 1,
        survived: 1,
        attribution: &[Attribution::Live, Attribution::Tombstone, Attribution::Late],
        // The second has to wait for five minutes.
        reasons: &["OOMKilled"],
    };
    stage.want("cart", "app", wanted);
    stage.conclude();

    let records = stage.records_of("cart");
    let (of_first, others): (Vec<&Record>, Vec<&Record>) = records
        .iter()
        .partition(|record| members.contains(&record.kill.victim.pid));
    let told: BTreeSet<u32> = of_first.iter().map(|r| r.kill.victim.pid).collect();
    assert_eq!(told, killed);
    let of_group = |records: &[&Record]| {
        let of_group = records.iter().filter(|r| r.kill.role == Role::Group);
        of_group.count()
    };
    assert_eq!(
        (of_group(&of_first), of_group(&others)),
        (killed.len() - 1, 0)
    );
    let events = stage.server.events();
    let note = events[0]["message"].as_str().unwrap_or_default();
    let more = killed.len() - 1;
    assert!(
        more == 0 || note.contains(&format!("and {more} more process")),
        "{more}: {note}"
    );
    assert_eq!(note.contains(" more process"), more > 0, "{note}");
    records.len()
}

/// PID 1 and seven others, one of which grows.
fn whole(stage: &Stage<'_>, container: usize) -> Running {
    let processes = PROCESSES.to_string();
    let group = ["group", "--processes", &processes, "--each", "256K"];
    let hog = stage.world.hog(&[&group[..], &SLOWLY].concat());
    start_init(stage.cgroup(container), hog)
}
