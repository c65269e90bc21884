//! Pods that come, go and come back: the kill is read before, between or after what the API server
//! tells of its container.

use crate::{
    apiserver::pods::{PodJson, container_id, pod, uid},
    kubelet::{Class, Driver, Runtime},
    world::World,
};
use capture::model::labels::Attribution;

use super::shapes::{self, BOUND, CRONJOB, DEPLOYMENT, whole};
use super::stage::{EITHER, PodPlace, Stage};
use super::wanted::{DIED, SURVIVED, Wanted};

const LATE: &[Attribution] = &[Attribution::Late];
const TOMBSTONE: &[Attribution] = &[Attribution::Tombstone];

pub(super) fn play(world: &World, driver: Driver) -> usize {
    let deployment = whole(DEPLOYMENT);
    let before_its_end = before_restart(&deployment);
    let pods = [
        before_its_end,
        whole(BOUND),
        pod("quick", 1),
        running("deleted", 2),
        running("frozen", 3),
        of_db(4),
        // Its container ran in another pod's history, as after a restored backup of the API server.
        running("history-a", 5),
        pod("history-b", 6).restarted("app", 66, 5, "12:00:20"),
    ];
    let mut stage = Stage::start(world, driver, &pods);

    before_its_status(&mut stage);
    restarted_at_once(&mut stage, &deployment);
    in_the_first_moment(&mut stage);
    short_job(&mut stage);
    deleted(&mut stage);
    deleted_before_the_record_is_read(&mut stage);
    back_under_its_name(&mut stage);
    in_two_histories(&mut stage);
    status_names_it(&mut stage);
    stage.conclude();
    9
}

fn running(name: &str, n: u32) -> PodJson {
    pod(name, n).running("app", n)
}

/// Number `n` of the pods that are called db-0 one after another.
fn of_db(n: u32) -> PodJson {
    running("db-0", n).owned("StatefulSet", "db")
}

fn container(stage: &mut Stage<'_>, pod: u32, id: u32) -> usize {
    let uid = uid(pod);
    let place = PodPlace(Class::Burstable, &uid);
    stage.container(place, Runtime::Containerd, &container_id(id))
}

/// The pod as it was in its app's first run.
fn before_restart(pod: &PodJson) -> PodJson {
    let mut before = pod.clone();
    let status = &mut before.0["status"]["containerStatuses"][0];
    let last = status["lastState"]["terminated"].clone();
    status["containerID"] = last["containerID"].clone();
    status["state"] = serde_json::json!({"running": {"startedAt": last["startedAt"]}});
    status["lastState"] = serde_json::json!({});
    status["restartCount"] = 0.into();
    before
}

/// PID 1 is killed, and the container is back under a new id within a second.
fn restarted_at_once(stage: &mut Stage<'_>, after: &PodJson) {
    let uid = shapes::uid(after);
    let id = shapes::last_id(after, "app");
    let app = stage.container(PodPlace(Class::Burstable, &uid), Runtime::Containerd, &id);
    stage.init_dies(app);
    stage.server.apply(after);
    stage.want("cart-7d9f8b6c5d-x2x9z", "app", DIED.by(EITHER));
    stage.want_workload("shop/deployment/cart/app", "died", 1);
}

/// The pod is bound, and no status has named a container yet.
fn before_its_status(stage: &mut Stage<'_>) {
    let bound = whole(BOUND);
    let uid = shapes::uid(&bound);
    let place = PodPlace(Class::Burstable, &uid);
    let app = stage.container(place, Runtime::Containerd, &container_id(7));
    stage.child_dies(app);
}

/// It does, long after the kill: once all the others are told.
fn status_names_it(stage: &mut Stage<'_>) {
    stage.until("all the others are told", || {
        !stage.records_of("history-a").is_empty()
    });
    let name = "cart-7d9f8b6c5d-q8r4t";
    let told = stage.listed(&["--pod", name]);
    assert!(told.is_empty(), "nobody could know: {told:#?}");
    let mut bound = whole(BOUND);
    bound.0["status"]["phase"] = "Running".into();
    stage.server.apply(&bound.running("app", 7));
    stage.want(name, "app", SURVIVED.by(LATE));
    stage.want_workload("shop/deployment/cart/app", "survived", 1);
}

/// It dies before any status could name it.
fn in_the_first_moment(stage: &mut Stage<'_>) {
    let app = container(stage, 1, 1);
    stage.init_dies(app);
    stage.server.apply(&running("quick", 1));
    // The status may be there first: the daemon is told of both at once.
    let either = &[Attribution::Late, Attribution::Live];
    stage.want("quick", "app", DIED.by(either));
}

/// A Job's pod that the API server tells of when all is over.
fn short_job(stage: &mut Stage<'_>) {
    let over = whole(CRONJOB);
    let uid = shapes::uid(&over);
    let id = shapes::id(&over, "containerStatuses", "backup");
    let place = PodPlace(Class::Burstable, &uid);
    let backup = stage.container(place, Runtime::CriDockerd, &id);
    stage.init_dies(backup);
    let mut begins = over.clone();
    begins.0["status"] = serde_json::json!({"phase": "Pending", "qosClass": "Burstable"});
    stage.server.apply(&begins);
    stage.server.apply(&over);
    stage.server.delete(&over);
    let name = "backup-29394000-h7vxq";
    stage.want(name, "backup", DIED.by(LATE));
    stage.want_workload("shop/cronjob/backup/backup", "died", 1);
}

/// The pod is gone from the API, its container not yet from the node.
fn deleted(stage: &mut Stage<'_>) {
    stage.server.delete(&running("deleted", 2));
    stage.until_known("deleted", false);
    let app = container(stage, 2, 2);
    stage.init_dies(app);
    stage.want("deleted", "app", DIED.by(TOMBSTONE));
}

/// While the daemon has no time, the kill happens and then the pod goes.
fn deleted_before_the_record_is_read(stage: &mut Stage<'_>) {
    let app = container(stage, 3, 3);
    stage.daemon.freeze(true);
    stage.init_dies(app);
    stage.server.delete(&running("frozen", 3));
    stage.daemon.freeze(false);
    stage.want("frozen", "app", DIED.by(EITHER));
}

/// A StatefulSet's pod goes on counting, though it is another pod.
fn back_under_its_name(stage: &mut Stage<'_>) {
    let app = container(stage, 4, 4);
    stage.child_dies(app);
    stage.until("the first is told", || stage.records_of("db-0").len() == 1);
    stage.server.delete(&of_db(4));
    stage.server.apply(&of_db(44));
    let app = container(stage, 44, 44);
    stage.child_dies(app);
    let wanted = Wanted {
        kills: 2,
        survived: 2,
        attribution: &[Attribution::Live, Attribution::Late],
        // Each of the two pods has its own.
        reasons: &["ProcessOOMKilled", "ProcessOOMKilled"],
        ..SURVIVED
    };
    stage.want("db-0", "app", wanted);
    stage.want_workload("shop/statefulset/db/app", "survived", 2);
}

/// The path says which pod it was.
fn in_two_histories(stage: &mut Stage<'_>) {
    let app = container(stage, 5, 5);
    stage.init_dies(app);
    stage.want("history-a", "app", DIED);
}
