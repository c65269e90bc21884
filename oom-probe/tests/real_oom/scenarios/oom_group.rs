//! `oom-probe oom-group`: what pods ask for by annotation, on real cgroups, with real kills.

mod stage;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::{
    apiserver::pods::{PodJson, container_id, pod},
    books::Allowed,
    case::Case,
    wait::{self, PATIENCE},
    world::{Running, World, numbers},
};
use capture::model::labels::Role;
use serde_json::json;

use stage::{ANNOTATION, Container, Stage, annotated};

const LIMIT: u64 = 24 << 20;
/// Containers whose cgroups are made to see how long a runtime's value stands.
const WINDOWS: u32 = 40;

/// A parent whose children run out of memory again and again: with the annotation it lives on, though
/// the kubelet asked for a group kill; without it the first kill is the container's end.
pub(crate) fn herder(world: &World) -> String {
    let stage = Stage::set(
        world,
        &[&annotated(pod("herder", 1), "0"), &pod("plain", 2)],
    );
    let mut case = Case::begin(world);

    let plain = stage.container(2, 21, LIMIT);
    let mut dies = herd(world, &plain);
    stage.server.apply(&pod("plain", 2).running("app", 21));
    dies.wait_killed();
    let died = case.kills_allowing(
        2,
        &Allowed {
            repeats: 1,
            ..Allowed::default()
        },
    );
    let roles: Vec<_> = died.iter().map(|record| record.kill.role).collect();
    assert_eq!(roles, [Role::Primary, Role::Group]);
    assert_eq!(died[0].kill.event, died[1].kill.event, "one group kill");

    let mut case = Case::begin(world);
    let herder = stage.container(1, 11, LIMIT);
    stage.until("the value is held", || herder.value() == "0");
    let mut running = herd(world, &herder);
    stage
        .server
        .apply(&annotated(pod("herder", 1), "0").running("app", 11));
    let children = if world.vm.is_some() { 20 } else { 3 };
    for _ in 0..children {
        running.line("killed by SIGKILL");
    }
    // Between two children: whoever ends soon after a kill has not survived it.
    running.signal(libc::SIGSTOP);
    // One that was under way by then dies, too.
    let processes = || herder.cgroup.processes().unwrap();
    wait::until("the parent is alone", processes, |all| all.len() == 1);
    let told = usize::try_from(herder.cgroup.oom_kill_count().unwrap()).unwrap();
    assert!(told >= children, "{told}");
    let survived = case.kills(told);
    let events: HashSet<_> = survived.iter().map(|record| &record.kill.event).collect();
    assert_eq!(events.len(), told, "each child an event of its own");
    assert!(
        survived
            .iter()
            .all(|record| record.kill.role == Role::Primary)
    );

    let events = |pod: &str, outcome: &str| {
        let labels = [
            ("namespace", "shop"),
            ("pod", pod),
            ("container", "app"),
            ("outcome", outcome),
        ]
        .map(|(name, value)| format!("{name}=\"{value}\""));
        stage
            .probe
            .metrics()
            .sum("oom_probe_container_oom_events_total", &labels)
    };
    stage.until("all outcomes are settled", || {
        events("herder", "survived") == told as u64
    });
    stage.until("the group kill is settled", || events("plain", "died") == 1);
    assert_eq!(
        (events("herder", "died"), events("plain", "survived")),
        (0, 0)
    );
    let of_pod = |reason: &str| {
        let events = stage.server.events();
        let of = events.iter().filter(|event| event["reason"] == reason);
        let names = of.map(|event| {
            event["involvedObject"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        });
        names.collect::<Vec<_>>()
    };
    stage.until("the Events are there", || {
        of_pod("OOMKilled") == ["plain"] && of_pod("OOMGroupSet") == ["herder"]
    });
    assert!(
        of_pod("ProcessOOMKilled")
            .iter()
            .all(|name| name == "herder")
    );
    for signal in [libc::SIGTERM, libc::SIGCONT] {
        running.signal(signal);
    }
    let ended = running.end();
    assert!(
        ended.status.success(),
        "the parent lived on: {}",
        ended.said
    );
    format!("lived on while {told} children died; without the annotation dead at the first kill")
}

fn herd(world: &World, container: &Container) -> Running {
    let hog = world.hog(&[
        "herd",
        "--children",
        "1",
        "--rounds",
        "forever",
        "--interval",
        "0",
        "--step",
        "2M",
    ]);
    Running::start(&container.cgroup, hog)
}

/// Held after each write of somebody else, in every cgroup of the container, and put back in the end.
pub(crate) fn annotation(world: &World) -> String {
    let asks = |pod: PodJson| annotated(pod, "0");
    if !world.is_v2() {
        return nothing_to_set(world, &asks(pod("cart", 1)));
    }
    let stage = Stage::set(world, &[&asks(pod("cart", 1)), &pod("plain", 2)]);
    let windows = windows(&stage);

    let container = stage.container(1, 1, LIMIT);
    stage.until("the new container is held", || container.value() == "0");
    stage.server.apply(&asks(pod("cart", 1)).running("app", 1));
    // What runc update does for an in-place resize.
    container.cgroup.set_limit(2 * LIMIT).unwrap();
    container.cgroup.set_oom_group(true).unwrap();
    stage.until("the resized container is held", || container.value() == "0");
    let inside = stage.inside(&container, "init.scope");
    stage.until("the cgroup inside is held", || inside.value() == "0");
    let state = || stage.keeper.state();
    let run = |id: u32| {
        let state = state();
        let runs = state["containers"].as_array().cloned().unwrap_or_default();
        runs.into_iter()
            .find(|run| run["container_id"] == container_id(id))
    };
    stage.until("the state has it", || {
        run(1).is_some_and(|run| run["container"] == "app" && run["held"] == json!(true))
    });
    assert_eq!(run(1).unwrap()["cgroups"].as_array().unwrap().len(), 2);
    let info =
        r#"oom_probe_oom_group_info{namespace="shop",pod="cart",container="app",value="0"} 1"#;
    assert!(stage.keeper.get("/metrics").contains(info));

    // A restart: another cgroup.
    drop(inside);
    drop(container);
    let container = stage.container(1, 2, LIMIT);
    stage.until("the next run is held", || container.value() == "0");
    stage.until("the last run is forgotten", || run(1).is_none());
    let plain = stage.container(2, 3, LIMIT);
    assert_eq!(plain.value(), "1");

    stage
        .server
        .apply(&annotated(pod("cart", 1).running("app", 2), "yes"));
    stage.until("what was there before is put back", || {
        container.value() == "1"
    });
    stage.until("the Events tell all of it", || {
        let events = stage.server.events();
        ["OOMGroupSet", "OOMGroupPutBack", "OOMGroupRefused"]
            .iter()
            .all(|reason| events.iter().any(|event| event["reason"] == *reason))
    });
    assert!(run(2).is_none());
    format!("held, and put back; {windows}")
}

/// How long a runtime's value stands in a new container, which does not run yet then.
fn windows(stage: &Stage<'_>) -> String {
    let mut windows: Vec<Duration> = (0..WINDOWS)
        .map(|n| {
            let container = stage.container(1, 100 + n, LIMIT);
            let written = Instant::now();
            while container.value() != "0" {
                assert!(
                    written.elapsed() < PATIENCE,
                    "never held: {}",
                    stage.keeper.log()
                );
                std::thread::yield_now();
            }
            written.elapsed()
        })
        .collect();
    windows.sort();
    let (median, longest) = (windows[windows.len() / 2], windows[windows.len() - 1]);
    format!("the runtime's value stood {median:.1?} in the median, {longest:.1?} at most")
}

fn nothing_to_set(world: &World, cart: &PodJson) -> String {
    let stage = Stage::set(world, &[cart]);
    stage.until("the pod is told", || {
        let events = stage.server.events();
        events
            .iter()
            .any(|event| event["reason"] == "OOMGroupUnsupported")
    });
    assert_eq!(stage.keeper.state()["supported"], false);
    stage.until("the log tells it", || {
        stage.keeper.log().contains("nothing to set")
    });
    assert!(
        stage
            .keeper
            .get("/readyz")
            .contains("v1: there is nothing to set")
    );
    "told that v1 has nothing to set".to_owned()
}

/// `--put-back` leaves nothing behind, and the daemon's end leaves all as it is.
pub(crate) fn taken_away(world: &World) -> String {
    let stage = Stage::set(world, &[&annotated(pod("cart", 1), "0")]);
    let container = stage.container(1, 1, LIMIT);
    let inside = stage.inside(&container, "worker");
    stage.until("both are held", || {
        container.value() == "0" && inside.value() == "0"
    });
    let log = stage.keeper.stop();
    assert!(log.contains("1 containers stay as they were set"), "{log}");
    assert_eq!(
        (container.value(), inside.value()),
        ("0".into(), "0".into())
    );
    let said = stage::put_back(world);
    assert_eq!(
        (container.value(), inside.value()),
        ("1".into(), "1".into()),
        "{said}"
    );
    assert_eq!(numbers(&said, "INFO ", " cgroups put back"), [2], "{said}");
    format!("left as set, then put back; {ANNOTATION}")
}
