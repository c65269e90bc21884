//! An API server that hangs or sends without end: kills are captured and counted as ever, and the
//! daemon stays small.

use super::stage::{PodPlace, Stage};
use crate::apiserver::{
    Answer, ApiServer, Call,
    pods::{container_id, pod, uid},
};
use crate::kubelet::{Class, Driver, Runtime};
use crate::world::World;

/// What the list may cost beyond what the daemon has at its start, KiB: one object of at most
/// 4 MiB, and what the allocator keeps.
const ROOM: u64 = 32 << 10;

pub(super) fn play(world: &World, driver: Driver) -> usize {
    let list = br#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":["#.to_vec();
    let elsewhere = pod("elsewhere", 2).spec("nodeName", "node-2".into());
    let elsewhere = elsewhere.0.to_string() + ",";
    let answers = [
        Answer::Hang,
        Answer::Silent,
        Answer::Body(b"<html>502 Bad Gateway</html>".to_vec()),
        Answer::Endless(list.clone(), elsewhere.repeat(50).into_bytes()),
        Answer::Endless([&list[..], b"{\"x\":\""].concat(), vec![b'x'; 1 << 16]),
    ];
    let kills = answers.len();
    for answer in &answers {
        captures_beside(world, driver, answer);
    }
    kills
}

fn captures_beside(world: &World, driver: Driver, answer: &Answer) {
    let server = ApiServer::start();
    server.script(Call::List, vec![answer.clone(); 1000]);
    let mut stage = Stage::start_away(world, driver, server);
    stage.until("it asks for pods", || {
        !stage.server.requests(Call::List).is_empty()
    });
    let before = stage.daemon.resident_kb();
    if let Answer::Endless(..) = answer {
        // More than it has room for, or it has given up once.
        let piles_up = || stage.server.sent_without_end() as u64 > 2 * (ROOM << 10);
        stage.until("it is sent more and more", || {
            piles_up() || stage.server.requests(Call::List).len() > 1
        });
    }
    let uid = uid(1);
    let place = PodPlace(Class::Burstable, &uid);
    let app = stage.container(place, Runtime::Containerd, &container_id(1));
    stage.init_dies(app);
    stage.until("the kill is counted", || {
        let pods = [r#"scope="pod""#.to_owned()];
        stage.daemon.metrics().sum("oom_probe_kills_total", &pods) == 1
    });
    assert!(stage.daemon.get("/readyz").contains("kubernetes"));
    assert!(!stage.is_synced(), "{answer:?}");
    let grown = stage.daemon.resident_kb().saturating_sub(before);
    assert!(grown < ROOM, "{grown} KiB more: {answer:?}");
}
