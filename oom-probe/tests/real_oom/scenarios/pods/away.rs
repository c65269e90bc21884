//! An API server that is not there when it is needed: no kill is lost, none goes to the wrong pod.

use crate::{
    apiserver::{
        ApiServer, Call,
        pods::{PodJson, container_id, pod, uid},
    },
    kubelet::{Class, Driver, Runtime},
    world::World,
};
use capture::model::labels::Attribution;

use super::stage::{PodPlace, Stage};
use super::wanted::{DIED, SURVIVED, Wanted};

const LATE: &[Attribution] = &[Attribution::Late];
const LIVE_OR_LATE: &[Attribution] = &[Attribution::Live, Attribution::Late];
/// Kills while the API server is away.
const MEANWHILE: u64 = 20;

pub(super) fn play(world: &World, driver: Driver) -> usize {
    let server = ApiServer::start();
    server.set_reachable(false);
    for pod in [running("cart", 1), running("quiet", 2), running("lost", 3)] {
        server.apply(&pod);
    }
    let mut stage = Stage::start_away(world, driver, server);
    let cart = before_the_first_list(&mut stage);
    while_it_is_away(&mut stage, cart);
    after_gone(&mut stage);
    stage.conclude();
    usize::try_from(MEANWHILE).unwrap() + 4
}

fn running(name: &str, n: u32) -> PodJson {
    pod(name, n).running("app", n)
}

fn container(stage: &mut Stage<'_>, n: u32) -> usize {
    let uid = uid(n);
    let place = PodPlace(Class::Burstable, &uid);
    stage.container(place, Runtime::Containerd, &container_id(n))
}

/// Returns the container, and a process that lives on in it.
fn before_the_first_list(stage: &mut Stage<'_>) -> (usize, usize) {
    let quiet = container(stage, 2);
    stage.child_dies(quiet);
    stage.want("quiet", "app", SURVIVED.by(LATE));
    let cart = container(stage, 1);
    let init = stage.runs(cart, &["hold", "1M"]);
    assert!(stage.listed(&[]).is_empty(), "nobody could know");
    stage.server.set_reachable(true);
    stage.until("the pods are known", || stage.is_synced());
    (cart, init)
}

/// A pod that is known, and one that is born and killed while nobody can tell.
fn while_it_is_away(stage: &mut Stage<'_>, (cart, init): (usize, usize)) {
    let lists = stage.server.requests(Call::List).len();
    stage.server.set_reachable(false);
    stage.until("the API server is missed", || !stage.is_synced());
    let children = MEANWHILE.to_string();
    let herd = [
        "herd",
        "--children",
        &children,
        "--interval",
        "0",
        "--step",
        "4M",
    ];
    let herd = stage.beside(cart, init, &herd).end();
    assert!(herd.status.success(), "{}", herd.said);
    let wanted = Wanted {
        kills: MEANWHILE,
        survived: MEANWHILE,
        ..SURVIVED
    };
    stage.want("cart", "app", wanted);

    let born = container(stage, 4);
    stage.init_dies(born);
    stage.want("born", "app", DIED.by(LATE));
    stage.server.apply(&running("born", 4));
    stage.until("all kills are counted at once", || {
        let metrics = stage.daemon.metrics();
        let pods = [r#"scope="pod""#.to_owned()];
        metrics.sum("oom_probe_kills_total", &pods) == MEANWHILE + 2
    });
    stage.server.set_reachable(true);
    stage.until("it is back", || stage.is_synced());
    stage.until("the pod is known", || !stage.records_of("born").is_empty());
    let again = stage.server.requests(Call::List).len() - lists;
    assert_eq!(again, 0, "the watch goes on where it was");
}

/// What the watch missed is forgotten (410): a new list says it.
fn after_gone(stage: &mut Stage<'_>) {
    let lists = stage.server.requests(Call::List).len();
    let lost = container(stage, 3);
    let new = container(stage, 5);
    stage.server.stall(true);
    stage.server.delete(&running("lost", 3));
    stage.server.apply(&running("new", 5));
    stage.server.compact();
    stage.init_dies(new);
    stage.want("new", "app", DIED.by(LIVE_OR_LATE));
    stage.server.close_watches();
    stage.server.stall(false);
    stage.until_known("lost", false);
    stage.init_dies(lost);
    stage.want("lost", "app", DIED.by(&[Attribution::Tombstone]));
    assert_eq!(stage.server.requests(Call::List).len() - lists, 1);
}
