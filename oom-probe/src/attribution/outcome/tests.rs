mod look;
mod unreported;

use super::*;
use crate::{
    attribution::fixture::kill_in,
    cgroup::population::Population,
    kube::fixture::{container_id, container_path, uid},
    model::kill::Domain,
    sinks::fixture::pod_child,
};

const SECOND: Duration = Duration::from_secs(1);
const POPULATED: Signs = seen(Some(Population::Populated));
const EMPTY: Signs = seen(Some(Population::Empty));
const GONE: Signs = seen(Some(Population::Gone));
const BLIND: Signs = seen(None);

/// What is seen while no status tells of an end.
const fn seen(population: Option<Population>) -> Signs {
    Signs {
        population,
        finished_at: None,
        exit_code: None,
    }
}

/// What is seen once the status tells of an end at that time.
fn ended(exit_code: i32, finished_at: Timestamp) -> Signs {
    Signs {
        finished_at: Some(finished_at),
        exit_code: Some(exit_code),
        ..EMPTY
    }
}

fn path(container: u32) -> String {
    container_path(&uid(1), container)
}

/// A child killed in container number `container` in an event of that name.
fn child(event: &str, container: u32) -> Record {
    let record = pod_child();
    let mut kill = kill_in(&path(container));
    kill.event = event.to_owned();
    kill.victim.kind = VictimKind::Child;
    kill.domain = None;
    let pod = PodRef {
        container: Some(format!("c{container}")),
        container_id: Some(container_id(container)),
        uid: Some(uid(1)),
        ..record.pod.clone().unwrap()
    };
    Record {
        kill,
        pod: Some(pod),
        ..record
    }
}

fn with(mut record: Record, change: impl FnOnce(&mut Kill)) -> Record {
    change(&mut record.kill);
    record
}

fn init(event: &str, container: u32) -> Record {
    with(child(event, container), |kill| {
        kill.victim.kind = VictimKind::Init;
    })
}

fn group(event: &str, container: u32, group_path: &str) -> Record {
    with(child(event, container), |kill| {
        kill.domain = Some(Domain {
            path: None,
            usage_bytes: None,
            limit_bytes: None,
            group: Some(true),
            group_path: Some(group_path.parse().unwrap()),
        });
    })
}

/// Container number 1 has failed, any other runs on.
fn first_has_ended(place: ContainerAt<'_>) -> Signs {
    let first = place.cgroup == Some(path(1).as_bytes());
    let ended = ended(1, pod_child().kill.time);
    if first { ended } else { POPULATED }
}

/// Outcomes with a clock that starts at the kill.
struct Watch {
    outcomes: Outcomes,
    start: Instant,
    after: Duration,
}

impl Watch {
    fn new() -> Self {
        Self {
            outcomes: Outcomes::default(),
            start: Instant::now() + Duration::from_secs(3600),
            after: Duration::ZERO,
        }
    }

    fn kill(&mut self, record: &Record) -> Option<(Outcome, u32)> {
        let wall = record.kill.time;
        let settled = self
            .outcomes
            .on_kill(record, self.start + self.after, wall)?;
        Some((settled.outcome, settled.kills))
    }

    /// All outcomes from looks until `until` after the kill, each with the time it was settled.
    fn looks(
        &mut self,
        until: Duration,
        signs: impl Fn(Duration) -> Signs,
    ) -> Vec<(Outcome, Duration)> {
        let mut settled = Vec::new();
        while let Some(due) = self.outcomes.next_tick()
            && due <= self.start + until
        {
            self.after = self.after.max(due - self.start);
            let after = self.after;
            let found = self.outcomes.tick(self.start + after, |_| signs(after));
            settled.extend(found.into_iter().map(|found| (found.outcome, after)));
        }
        settled
    }
}

#[test]
fn a_container_that_is_still_there_after_five_seconds_survived() {
    let mut watch = Watch::new();
    assert_eq!(watch.kill(&child("e", 1)), None);
    assert_eq!(
        watch.looks(60 * SECOND, |_| POPULATED),
        [(Outcome::Survived, 5 * SECOND)]
    );
    assert_eq!(watch.outcomes.next_tick(), None);
}

#[test]
fn how_a_container_ended_is_told_by_its_status() {
    // PID 1 waits for its child and exits so many milliseconds later; its status comes with it.
    for (code, exits, outcome, settled) in [
        (1, 0, Outcome::Died, 200),
        (137, 150, Outcome::Died, 200),
        (1, 4999, Outcome::Died, 5000),
        (0, 0, Outcome::Survived, 200),
        (0, 300, Outcome::Survived, 1000),
        (0, 4000, Outcome::Survived, 5000),
    ] {
        let mut watch = Watch::new();
        let record = child("e", 1);
        watch.kill(&record);
        let exits = Duration::from_millis(exits);
        let ended = ended(code, record.kill.time + exits);
        let found = watch.looks(
            60 * SECOND,
            |at| if at >= exits { ended } else { POPULATED },
        );
        let settled = Duration::from_millis(settled);
        assert_eq!(found, [(outcome, settled)], "{code} after {exits:?}");
    }
}

#[test]
fn a_container_that_is_gone_waits_for_its_status() {
    for signs in [EMPTY, GONE] {
        let mut watch = Watch::new();
        let record = child("e", 1);
        watch.kill(&record);
        assert_eq!(watch.looks(20 * SECOND, |_| signs), []);
        let status = |found: &mut Watch, pod: &str, signs| {
            let now = found.start + 20 * SECOND;
            let settled = found.outcomes.on_status(pod, now, |_| signs);
            settled.iter().map(|s| s.outcome).collect::<Vec<_>>()
        };
        let ended = ended(0, record.kill.time + 2 * SECOND);
        assert_eq!(status(&mut watch, &uid(2), ended), [], "another pod's");
        assert_eq!(status(&mut watch, &uid(1), signs), [], "says nothing of it");
        assert_eq!(status(&mut watch, &uid(1), ended), [Outcome::Survived]);
        assert_eq!(watch.outcomes.next_tick(), None);
    }
}

#[test]
fn without_any_status_what_is_seen_decides_in_the_end() {
    for (signs, outcome) in [
        (EMPTY, Outcome::Died),
        (GONE, Outcome::Died),
        (BLIND, Outcome::Survived),
    ] {
        let mut watch = Watch::new();
        watch.kill(&child("e", 1));
        let found = watch.looks(3600 * SECOND, |_| signs);
        assert_eq!(found, [(outcome, STATUS_WITHIN)], "{signs:?}");
    }
}

#[test]
fn no_status_is_waited_for_where_none_can_come() {
    let mut sandbox = child("e", 1);
    sandbox.pod.as_mut().unwrap().container = Some(SANDBOX.to_owned());
    let pod = format!("/kubepods/burstable/pod{}", uid(1));
    let of_pod = with(child("e", 1), |kill| {
        kill.identity = kill_in(&pod).identity;
    });
    for record in [sandbox, of_pod] {
        let mut watch = Watch::new();
        watch.kill(&record);
        let found = watch.looks(60 * SECOND, |_| EMPTY);
        assert_eq!(found, [(Outcome::Died, LOOKS[0])]);
    }
}

#[test]
fn the_inits_death_is_the_containers() {
    let mut watch = Watch::new();
    assert_eq!(watch.kill(&init("e", 1)), Some((Outcome::Died, 1)));
    assert_eq!(watch.outcomes.next_tick(), None);
}

#[test]
fn the_sandboxs_init_is_not_the_containers() {
    let mut record = init("e", 1);
    record.pod.as_mut().unwrap().container = Some(SANDBOX.to_owned());
    assert_eq!(Watch::new().kill(&record), None);
}

#[test]
fn a_group_kill_of_the_container_or_above_is_its_death() {
    let nested = path(1) + "/workers";
    let pod = format!("/kubepods/burstable/pod{}", uid(1));
    for (group_path, died) in [
        (path(1).as_str(), true),
        (&pod, true),
        ("/kubepods", true),
        ("/", true),
        (&nested, false),
        ("/kube", false),
        (&path(2), false),
    ] {
        let record = group("e", 1, group_path);
        let expected = died.then_some((Outcome::Died, 1));
        assert_eq!(Watch::new().kill(&record), expected, "{group_path}");
    }
}

#[test]
fn a_group_kill_is_one_event_and_a_kill_in_the_next_run_another() {
    let mut watch = Watch::new();
    let mut settled = Vec::new();
    for _ in 0..8 {
        settled.extend(watch.kill(&group("e", 1, &path(1))));
    }
    assert_eq!(settled, [(Outcome::Died, 1)]);
    // The container is started anew under another id, and a child is killed at once.
    assert_eq!(watch.kill(&child("f", 2)), None);
    assert_eq!(
        watch.looks(60 * SECOND, |_| POPULATED),
        [(Outcome::Survived, 5 * SECOND)]
    );
}

#[test]
fn several_victims_of_one_event_are_settled_together() {
    let mut watch = Watch::new();
    assert_eq!(watch.kill(&child("e", 1)), None);
    assert_eq!(watch.kill(&child("e", 1)), None);
    watch.after = Duration::from_millis(500);
    let later = with(child("e", 1), |kill| {
        kill.time += Duration::from_millis(500);
    });
    assert_eq!(watch.kill(&later), None);
    let found = watch.looks(60 * SECOND, |_| POPULATED);
    assert_eq!(
        found,
        [(Outcome::Survived, Duration::from_millis(5500))],
        "counted from the last victim"
    );
}

#[test]
fn a_later_victim_may_settle_what_was_open() {
    let mut watch = Watch::new();
    assert_eq!(watch.kill(&child("e", 1)), None);
    assert_eq!(watch.kill(&init("e", 1)), Some((Outcome::Died, 2)));
    assert_eq!(watch.kill(&child("e", 1)), None, "that event is settled");
    assert_eq!(watch.outcomes.next_tick(), None);
}

#[test]
fn each_container_of_an_event_has_its_own_outcome() {
    let mut watch = Watch::new();
    watch.kill(&child("e", 1));
    watch.kill(&child("e", 2));
    let mut found = watch
        .outcomes
        .tick(watch.start + 5 * SECOND, first_has_ended);
    found.sort_by_key(|settled| settled.kill.pod.clone().unwrap().container);
    let outcomes: Vec<_> = found.iter().map(|settled| settled.outcome).collect();
    assert_eq!(outcomes, [Outcome::Died, Outcome::Survived]);
}

#[test]
fn the_chosen_victim_stands_for_the_event() {
    let mut watch = Watch::new();
    let other = with(child("e", 1), |kill| kill.role = Role::Group);
    watch.kill(&other);
    watch.kill(&with(child("e", 1), |kill| kill.victim.pid = 77));
    watch.kill(&other);
    let found = watch.outcomes.tick(watch.start + 5 * SECOND, |_| POPULATED);
    assert_eq!((found[0].kill.kill.victim.pid, found[0].kills), (77, 3));
}

#[test]
fn an_event_that_is_read_late_is_looked_at_once() {
    let mut watch = Watch::new();
    let record = child("e", 1);
    let wall = record.kill.time + 30 * SECOND;
    assert!(watch.outcomes.on_kill(&record, watch.start, wall).is_none());
    assert!(watch.outcomes.next_tick().unwrap() <= watch.start);
    let found = watch.outcomes.tick(watch.start, |_| POPULATED);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].outcome, Outcome::Survived);
}

#[test]
fn a_wall_clock_that_went_back_only_delays_the_looks() {
    let mut watch = Watch::new();
    let record = child("e", 1);
    let wall = record.kill.time - 3600 * SECOND;
    watch.outcomes.on_kill(&record, watch.start, wall);
    assert_eq!(watch.outcomes.next_tick(), Some(watch.start + LOOKS[0]));
}

#[test]
fn kills_of_no_known_pod_have_no_outcome() {
    let mut nameless = child("e", 1);
    nameless.pod.as_mut().unwrap().name = None;
    let mut host = child("e", 1);
    host.pod = None;
    for record in [nameless, host] {
        let mut watch = Watch::new();
        assert_eq!(watch.kill(&record), None);
        assert_eq!(watch.outcomes.next_tick(), None);
    }
}

#[test]
fn a_storm_of_events_keeps_a_bounded_number_open() {
    let mut watch = Watch::new();
    for n in 0..MAX_PENDING + 100 {
        watch.kill(&child(&format!("e{n}"), 1));
    }
    let found = watch.outcomes.tick(watch.start, |_| POPULATED);
    assert_eq!(found.len(), 100);
    assert_eq!(found[0].kill.kill.event, "e0");
    assert_eq!(watch.outcomes.pending.len(), MAX_PENDING);
    for n in 0..2 * MAX_SETTLED {
        watch.kill(&init(&format!("i{n}"), 1));
    }
    assert_eq!(watch.outcomes.settled.len(), MAX_SETTLED);
}

#[test]
fn a_daemon_that_stops_looks_a_last_time() {
    let mut watch = Watch::new();
    watch.kill(&child("e", 1));
    watch.kill(&child("e", 2));
    let found = watch.outcomes.conclude(watch.start, first_has_ended);
    let outcomes: Vec<_> = found.iter().map(|settled| settled.outcome).collect();
    assert_eq!(outcomes, [Outcome::Died, Outcome::Survived]);
    assert_eq!(watch.outcomes.next_tick(), None);
}
