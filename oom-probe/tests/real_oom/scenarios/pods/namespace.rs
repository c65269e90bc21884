//! What becomes of containers, seen by a daemon with a PID namespace of its own: that is how it is
//! deployed. On cgroup v1 it finds none of their processes in `cgroup.procs`.

use std::fs;
use std::time::Duration;

use hog::cgroup::Hierarchy;

use super::stage::{GROW, HERD, PodPlace, Stage};
use super::wanted::{DIED, SURVIVED};
use crate::apiserver::pods::{PodJson, container_id, pod, uid};
use crate::container::{shell, start_init};
use crate::kubelet::{Class, Driver, Runtime};
use crate::world::{World, other_hierarchies};

/// Hierarchies that a container's processes are in, beside that of the memory controller.
type Hierarchies<'a> = Vec<&'a Hierarchy>;

/// Two pods for each set of hierarchies: one whose container lives on, one whose container fails
/// after its child was killed.
pub(super) fn play(world: &World, driver: Driver) -> usize {
    let others = other_hierarchies(&world.hierarchy);
    // With a kubelet and cgroupfs it is in all of them; each alone tells enough.
    let mut sets: Vec<Hierarchies<'_>> = others.iter().map(|other| vec![other]).collect();
    if others.len() > 1 || world.is_v2() {
        sets.push(others.iter().collect());
    }
    let pods = 2 * u32::try_from(sets.len()).unwrap() + 2;
    let all: Vec<PodJson> = (1..=pods).map(running).collect();
    let mut stage = Stage::in_own_pid_namespace(world, driver, &all);
    let mut next = 1;
    for set in &sets {
        lives_on(&mut stage, next, set);
        fails(&mut stage, next + 1, set);
        next += 2;
    }
    if !world.is_v2() {
        told_by_status(&mut stage, next);
        next += 2;
    }
    stage.conclude();
    usize::try_from(next).unwrap() - 1
}

fn name(n: u32) -> String {
    format!("p{n}")
}

fn running(n: u32) -> PodJson {
    pod(&name(n), n).running("app", n)
}

fn container(stage: &mut Stage<'_>, n: u32) -> usize {
    let uid = uid(n);
    let place = PodPlace(Class::Burstable, &uid);
    stage.container(place, Runtime::Containerd, &container_id(n))
}

/// The `cgroup.procs` of the container in these hierarchies.
fn twins(stage: &mut Stage<'_>, container: usize, set: &Hierarchies<'_>) -> Vec<String> {
    let twin = |hierarchy: &&Hierarchy| stage.twin(container, hierarchy).display().to_string();
    set.iter().map(twin).collect()
}

/// Arguments of a hog that joins the container there.
fn joins(twins: &[String]) -> impl Iterator<Item = &str> {
    twins
        .iter()
        .flat_map(|procs| ["--cgroup-procs", procs.as_str()])
}

/// A child dies, PID 1 lives on.
fn lives_on(stage: &mut Stage<'_>, n: u32, set: &Hierarchies<'_>) {
    let app = container(stage, n);
    let twins = twins(stage, app, set);
    let hog: Vec<&str> = joins(&twins).chain(HERD).collect();
    let init = stage.runs(app, &hog);
    stage.process(init).line("killed by SIGKILL");
    stage.want(&name(n), "app", SURVIVED);
}

/// PID 1 fails once its child was killed.
fn fails(stage: &mut Stage<'_>, n: u32, set: &Hierarchies<'_>) {
    ends(stage, n, set, 1);
    stage.want(&name(n), "app", DIED);
}

/// PID 1 exits with that code once its child was killed, and its status tells that.
fn ends(stage: &mut Stage<'_>, n: u32, set: &Hierarchies<'_>, code: u8) {
    let app = container(stage, n);
    let twins = twins(stage, app, set);
    let hog: Vec<&str> = joins(&twins)
        .chain(["--oom-score-adj", "1000"])
        .chain(GROW)
        .collect();
    let shell = shell(&stage.world.hog(&hog), code, Duration::from_millis(300));
    let init = start_init(stage.cgroup(app), shell);
    for procs in &twins {
        fs::write(procs, init.pid().to_string()).unwrap();
    }
    let ended = init.end();
    assert!(ended.said.contains("ended: signal: 9"), "{}", ended.said);
    let status = running(n).terminated("app", n, code.into(), "12:00:20");
    stage.server.apply(&status);
}

/// No file tells whether anything runs: the outcome is open until the status says it.
fn told_by_status(stage: &mut Stage<'_>, n: u32) {
    ends(stage, n, &Vec::new(), 0);
    stage.want(&name(n), "app", SURVIVED);
    ends(stage, n + 1, &Vec::new(), 1);
    stage.want(&name(n + 1), "app", DIED);
}
