//! Every kind of container, and every way of a kill in one, on a node that is full of pods.

use std::time::Duration;

use crate::{
    apiserver::pods::{PodJson, container_id, pod, uid},
    case::shown,
    container::{shell, start_init},
    kubelet::{Class, Driver, Runtime},
    world::{Running, World},
};
use capture::model::labels::{Limit, VictimKind};

use super::shapes::{self, DEPLOYMENT, EPHEMERAL, STATIC, whole};
use super::stage::{GROW, HERD, PodPlace, Stage};
use super::wanted::{DIED, SURVIVED, Wanted};

/// Pods that are there besides, with three containers each.
const CROWD: u32 = 250;

/// Real kills in this play.
const KILLS: usize = 17;

const CART: &str = "cart-7d9f8b6c5d-x2x9z";
const INIT: &str = "initContainerStatuses";
const EPHEMERALS: &str = "ephemeralContainerStatuses";
const APPS: &str = "containerStatuses";

pub(super) fn play(world: &World, driver: Driver) -> usize {
    let mut pods = crowd();
    let cart = shapes::starts(whole(DEPLOYMENT), INIT, "migrate");
    let (db, etcd) = (whole(EPHEMERAL), whole(STATIC));
    pods.extend([cart.clone(), db.clone(), etcd.clone()]);
    pods.extend([1, 2, 3, 4, 6, 7].map(small));
    let mut stage = Stage::start(world, driver, &pods);
    in_the_crowd(&mut stage);
    of_a_deployment(&mut stage, &cart);
    with_a_shared_pid_namespace(&mut stage, &db);
    static_pod(&mut stage, &etcd);
    second_of_two(&mut stage);
    shells(&mut stage);
    across_containers(&mut stage);
    host_pid(&mut stage);
    sandbox(&mut stage);
    outside(&stage);
    stage.conclude();
    filters(&stage);
    KILLS
}

/// Pods of three containers that all run.
fn crowd() -> Vec<PodJson> {
    let one = |n: u32| {
        let pod = pod(&format!("crowd-{n}"), 1000 + n);
        let pod = pod.container("b").container("c");
        let id = |container| 10_000 + 3 * n + container;
        pod.running("app", id(0))
            .running("b", id(1))
            .running("c", id(2))
    };
    (0..CROWD).map(one).collect()
}

/// Pods `p1` to `p7`, with a container `proxy` beside `app`.
fn small(n: u32) -> PodJson {
    let pod = pod(&format!("p{n}"), n).container("proxy");
    pod.running("app", 10 * n).running("proxy", 10 * n + 1)
}

fn burstable(n: u32) -> String {
    uid(n)
}

fn in_the_crowd(stage: &mut Stage<'_>) {
    for (n, container, at) in [(0, "app", 0), (100, "b", 1), (249, "c", 2)] {
        let uid = burstable(1000 + n);
        let id = container_id(10_000 + 3 * n + at);
        let cgroup = stage.container(PodPlace(Class::BestEffort, &uid), Runtime::Containerd, &id);
        stage.child_dies(cgroup);
        stage.want(&format!("crowd-{n}"), container, SURVIVED);
    }
}

fn of_a_deployment(stage: &mut Stage<'_>, cart: &PodJson) {
    let uid = shapes::uid(cart);
    let place = PodPlace(Class::Burstable, &uid);
    let container = |stage: &mut Stage<'_>, name| {
        stage.container(place, Runtime::Containerd, &shapes::id(cart, INIT, name))
    };
    let migrate = container(stage, "migrate");
    stage.init_dies(migrate);
    stage.want(CART, "migrate", DIED);
    stage.want_workload("shop/deployment/cart/migrate", "died", 1);
    let mesh = container(stage, "mesh");
    stage.child_dies(mesh);
    stage.want(CART, "mesh", SURVIVED);
    stage.want_workload("shop/deployment/cart/mesh", "survived", 1);
}

/// `shareProcessNamespace`: PID 1 is the sandbox's, the container's first process is not.
fn with_a_shared_pid_namespace(stage: &mut Stage<'_>, db: &PodJson) {
    let uid = shapes::uid(db);
    let place = PodPlace(Class::Guaranteed, &uid);
    let sandbox = stage.container(place, Runtime::Crio, &container_id(99));
    let pause = stage.runs(sandbox, &["--comm", "pause", "hold", "1M"]);
    let postgres = stage.container(place, Runtime::Crio, &shapes::id(db, APPS, "postgres"));
    let mut first = stage.beside(postgres, pause, &HERD);
    first.line("killed by SIGKILL");
    let inside = stage.keep(first);
    // `kubectl exec`, where another process lives on.
    stage.beside(postgres, inside, &GROW).end().killed();
    stage.want("db-0", "postgres", twice(SURVIVED));
    stage.want_workload("shop/statefulset/db/postgres", "survived", 2);

    let id = shapes::id(db, EPHEMERALS, "debugger-4hj7p");
    let debugger = stage.container(place, Runtime::Crio, &id);
    stage.beside(debugger, pause, &GROW).end().killed();
    let ended = shapes::ends(db.clone(), EPHEMERALS, "debugger-4hj7p", 137);
    stage.server.apply(&ended);
    stage.want("db-0", "debugger-4hj7p", DIED);
    stage.want_workload("shop/statefulset/db/debugger-4hj7p", "died", 1);
}

/// Two kills are two events, but one message in five minutes.
fn twice(once: Wanted) -> Wanted {
    Wanted {
        kills: 2 * once.kills,
        survived: 2 * once.survived,
        died: 2 * once.died,
        ..once
    }
}

/// Its cgroup carries the hash of its file, not its UID.
fn static_pod(stage: &mut Stage<'_>, etcd: &PodJson) {
    let hash = shapes::uid(etcd);
    let id = shapes::id(etcd, APPS, "etcd");
    let cgroup = stage.container(PodPlace(Class::Burstable, &hash), Runtime::Containerd, &id);
    stage.child_dies(cgroup);
    stage.want("etcd-node-1", "etcd", SURVIVED);
    stage.want_workload("kube-system/node/node-1/etcd", "survived", 1);
}

fn small_container(stage: &mut Stage<'_>, n: u32, id: u32) -> usize {
    let uid = burstable(n);
    let place = PodPlace(Class::Burstable, &uid);
    stage.container(place, Runtime::Containerd, &container_id(id))
}

fn second_of_two(stage: &mut Stage<'_>) {
    let app = small_container(stage, 1, 10);
    stage.runs(app, &["hold", "1M"]);
    let proxy = small_container(stage, 1, 11);
    stage.child_dies(proxy);
    stage.want("p1", "proxy", SURVIVED);
}

/// Shells exit after their child was killed: their status says what they make of it.
fn shells(stage: &mut Stage<'_>) {
    for (n, code, after, wanted) in [
        (2, 0, 1500, SURVIVED),
        (3, 1, 300, DIED),
        (7, 0, 0, SURVIVED),
    ] {
        let app = small_container(stage, n, 10 * n);
        let hog = stage
            .world
            .hog(&[&["--oom-score-adj", "1000"], &GROW[..]].concat());
        let shell = shell(&hog, code, Duration::from_millis(after));
        let ended = start_init(stage.cgroup(app), shell).end();
        assert!(ended.said.contains("ended: signal: 9"), "{}", ended.said);
        assert_eq!(ended.status.code(), Some(i32::from(code)));
        let status = small(n).terminated("app", 10 * n, code.into(), "12:00:20");
        stage.server.apply(&status);
        stage.want(&format!("p{n}"), "app", wanted);
    }
}

/// One container runs into the pod's limit, the large idle one beside it dies.
fn across_containers(stage: &mut Stage<'_>) {
    let uid = burstable(4);
    let place = PodPlace(Class::Burstable, &uid);
    let whole = stage.pod(place);
    stage.cgroup(whole).set_limit(64 << 20).unwrap();
    let quiet = stage.unlimited(place, Runtime::Containerd, &container_id(40));
    let busy = stage.unlimited(place, Runtime::Containerd, &container_id(41));
    let mut idle = start_init(stage.cgroup(quiet), stage.world.hog(&["hold", "48M"]));
    idle.line("holding");
    let spared = ["--oom-score-adj", stage.world.spared(), "grow"];
    let grow = ["--max", "24M", "--step", "4M", "--interval", "0"];
    let grow = stage.world.hog(&[&spared[..], &grow[..]].concat());
    let trigger = start_init(stage.cgroup(busy), grow).end();
    idle.wait_killed();
    stage.want("p4", "app", DIED);
    if !trigger.status.success() {
        // It could not be spared, and was taken as well.
        stage.want("p4", "proxy", DIED);
    }
    stage.until("the kill is told", || !stage.records_of("p4").is_empty());
    let records = stage.records_of("p4");
    let kill = &records[0].kill;
    let of = kill.trigger.as_ref().expect("a trigger");
    assert_eq!((of.pid, of.same_container), (trigger.pid, Some(false)));
    if stage.world.is_named(kill) {
        assert_eq!(kill.limit, Limit::Pod, "{}", shown(&records));
    }
}

/// Without a PID namespace of its own, the first process is told by its start.
fn host_pid(stage: &mut Stage<'_>) {
    let pod = small(5).spec("hostPID", true.into());
    stage.server.apply(&shapes::starts(pod, APPS, "app"));
    stage.until_known("p5", true);
    let app = small_container(stage, 5, 50);
    let first = Running::start(stage.cgroup(app), stage.world.hog(&GROW));
    first.end().killed();
    stage.want("p5", "app", DIED);
    stage.until("the kill is told", || !stage.records_of("p5").is_empty());
    let records = stage.records_of("p5");
    let kind = records[0].kill.victim.kind;
    assert_eq!(kind, VictimKind::Init, "{}", shown(&records));
}

/// A process in the pod's own cgroup.
fn sandbox(stage: &mut Stage<'_>) {
    let uid = burstable(6);
    let whole = stage.pod(PodPlace(Class::Burstable, &uid));
    stage.cgroup(whole).set_limit(16 << 20).unwrap();
    stage.child_dies(whole);
    stage.want("p6", "POD", SURVIVED);
}

/// No pod's.
fn outside(stage: &Stage<'_>) {
    let service = stage.world.limited("system.slice/nginx.service", 16 << 20);
    let hog = Running::start(&service, stage.world.hog(&GROW));
    hog.end().killed();
}

/// `oom-probe kills` shows what is asked for.
fn filters(stage: &Stage<'_>) {
    for (flags, kills) in [
        (&[][..], KILLS),
        (&["-n", "shop"], 15),
        (&["--namespace", "kube-system"], 1),
        (&["--pod", "db-0"], 3),
        (&["--pod", "db-0", "--container", "postgres"], 2),
        (&["--container", "app"], 6),
        (&["--workload", "cart"], 2),
        (&["--workload", "statefulset/db"], 3),
        (&["--workload", "deployment/db"], 0),
        (&["-n", "elsewhere"], 0),
    ] {
        let shown = stage.listed(flags);
        assert_eq!(shown.len(), kills, "{flags:?}: {shown:#?}");
    }
}
