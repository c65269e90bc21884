//! What people do about OOM kills by hand, by hog's own scenarios: watch one pod die, choose its
//! step, find out who is to blame for a limit that several containers share.

use crate::{
    apiserver::pods::{container_id, pod, uid},
    case::shown,
    container::start_init,
    kubelet::{Class, Driver, Runtime},
    world::{Running, World},
};
use capture::model::{
    kill::Record,
    labels::{Attribution, Limit, VictimKind},
};
use hog::scenario::{self, Container};
use jiff::Timestamp;

use super::stage::{PodPlace, Stage};
use super::wanted::{DIED, Wanted};

const SINGLE: &str = "hog-single";
const INCREMENT: &str = "hog-increment";
const SIDECAR: &str = "hog-sidecar";
/// A new container may die before the status that names it has come.
const SOON: &[Attribution] = &[Attribution::Live, Attribution::Late];

pub(super) fn play(world: &World, driver: Driver) -> usize {
    let pods = [
        pod(SINGLE, 1).running("app", 10),
        pod(INCREMENT, 2).running("app", 20),
        pod(SIDECAR, 3)
            .container("trigger")
            .running("app", 30)
            .running("trigger", 31),
    ];
    let mut stage = Stage::start(world, driver, &pods);
    let kills = watch_one_pod_die(&mut stage);
    choose_the_step(&mut stage);
    find_who_is_to_blame(&mut stage);
    stage.conclude();
    kills + 2
}

/// Each death is one record with the victim's size, the limit and the time; the counter was there at
/// 0, rises by exactly one each time, and survives the restarts.
fn watch_one_pod_die(stage: &mut Stage<'_>) -> usize {
    let single = &scenario::find("single").unwrap().containers[0];
    let counted = |stage: &Stage<'_>| {
        let labels = [format!("pod=\"{SINGLE}\"")];
        let metrics = stage.daemon.metrics();
        let name = "oom_probe_container_oom_kills_total";
        assert_eq!(metrics.count(name, &labels), 1, "one series all along");
        metrics.sum(name, &labels)
    };
    for death in 1..=single.starts {
        assert_eq!(counted(stage), u64::from(death) - 1);
        let id = 9 + death;
        if death > 1 {
            let again = pod(SINGLE, 1).restarted("app", id, id - 1, "12:00:20");
            stage.server.apply(&again);
        }
        let cgroup = limited(stage, 1, id, single.limit);
        let before = Timestamp::now();
        dies(stage, cgroup, single, &[("HOG_INTERVAL", "0")]);
        stage.until("the death is counted", || {
            counted(stage) == u64::from(death)
        });
        let records = stage.records_of(SINGLE);
        assert_eq!(records.len(), death as usize, "{}", shown(&records));
        is_told(stage.world, &records[records.len() - 1], single, before);
    }
    let deaths = u64::from(single.starts);
    let wanted = Wanted {
        kills: deaths,
        died: deaths,
        ..DIED
    };
    stage.want(SINGLE, "app", wanted.by(SOON));
    single.starts as usize
}

/// Size, limit and time of one death.
fn is_told(world: &World, record: &Record, container: &Container, before: Timestamp) {
    let told = shown(std::slice::from_ref(record));
    let limit = container.limit.unwrap();
    let kill = &record.kill;
    assert_eq!(kill.victim.kind, VictimKind::Init, "{told}");
    assert_eq!(kill.limit, Limit::Container, "{told}");
    assert!(
        before <= kill.time && kill.time <= Timestamp::now(),
        "{told}"
    );
    let anon = kill.victim.anon_rss_bytes.unwrap();
    assert!(limit * 3 / 4 < anon && anon <= limit, "{told}");
    if world.reads_usage() {
        let told_limit = kill.cgroup.as_ref().and_then(|cgroup| cgroup.limit_bytes);
        assert_eq!(told_limit, Some(limit), "{told}");
    }
}

/// The hog takes its step from `MEMORY_INCREMENT_MB` and prints its progress.
fn choose_the_step(stage: &mut Stage<'_>) {
    let increment = &scenario::find("increment").unwrap().containers[0];
    let cgroup = limited(stage, 2, 20, increment.limit);
    let environment = [("MEMORY_INCREMENT_MB", "40"), ("HOG_INTERVAL", "0")];
    let said = dies(stage, cgroup, increment, &environment);
    for step in ["hog: 40 MiB anon", "hog: 80 MiB anon", "hog: 120 MiB anon"] {
        assert!(said.contains(step), "{said}");
    }
    stage.want(INCREMENT, "app", DIED);
}

/// The record says that it was the pod's limit, who died, and that another container asked for more.
fn find_who_is_to_blame(stage: &mut Stage<'_>) {
    let sidecar = scenario::find("sidecar").unwrap();
    let [idle, trigger] = sidecar.containers else {
        panic!("two containers: {sidecar:?}")
    };
    let uid = uid(3);
    let place = PodPlace(Class::Burstable, &uid);
    let pod = stage.pod(place);
    stage
        .cgroup(pod)
        .set_limit(sidecar.pod_limit.unwrap())
        .unwrap();
    let [idle_cgroup, trigger_cgroup] =
        [30, 31].map(|id| stage.unlimited(place, Runtime::Containerd, &container_id(id)));
    let mut held = start(stage, idle_cgroup, idle, &[]);
    held.line("holding 64 MiB");
    let growing = start(stage, trigger_cgroup, trigger, &[("HOG_INTERVAL", "1ms")]);
    held.end().killed();
    let kept = stage.keep(growing);
    stage.until("the record is there", || {
        stage.records_of(SIDECAR).len() == 1
    });
    let records = stage.records_of(SIDECAR);
    let (told, record) = (shown(&records), &records[0]);
    assert_eq!(record.kill.limit, Limit::Pod, "{told}");
    let trigger = record.kill.trigger.as_ref().unwrap();
    assert_eq!(trigger.same_container, Some(false), "{told}");
    assert_eq!(trigger.pid, stage.process(kept).pid(), "{told}");
    stage.want(SIDECAR, "app", DIED);
}

fn limited(stage: &mut Stage<'_>, pod: u32, id: u32, limit: Option<u64>) -> usize {
    let uid = uid(pod);
    let place = PodPlace(Class::Burstable, &uid);
    let cgroup = stage.container(place, Runtime::Containerd, &container_id(id));
    stage.cgroup(cgroup).set_limit(limit.unwrap()).unwrap();
    cgroup
}

fn start(
    stage: &Stage<'_>,
    cgroup: usize,
    container: &Container,
    environment: &[(&str, &str)],
) -> Running {
    let mut command = stage.world.hog(container.arguments);
    command.envs(container.environment.iter().copied());
    command.envs(environment.iter().copied());
    start_init(stage.cgroup(cgroup), command)
}

/// Runs it as PID 1 until it is killed; what it said.
fn dies(
    stage: &Stage<'_>,
    cgroup: usize,
    container: &Container,
    environment: &[(&str, &str)],
) -> String {
    start(stage, cgroup, container, environment)
        .end()
        .killed()
        .said
}
