//! A node full of pods whose names are made to break whatever shows them.

use std::time::Duration;

use crate::{
    apiserver::{
        ApiServer,
        hostile::{CONTAINERS_EACH, hostile},
        pods::{PodJson, container_id, uid},
    },
    kubelet::{Class, Driver, Runtime},
    prometheus::{self, Config, Format, Prometheus, Scrape},
    world::World,
};
use capture::model::kill::Record;
use serde_json::Value;

use super::stage::{PodPlace, Stage};

const PODS: u32 = 2500;
/// Pods with a kill, one of each name and the last.
const KILLED: [u32; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, PODS - 1];
/// What the daemon may have resident with all of them and after two scrapes, KiB. Unoptimised it was seen
/// to have 30 MiB.
const ROOM: u64 = 64 << 10;

pub(crate) fn names(world: &World) -> String {
    let pods: Vec<PodJson> = (0..PODS).map(running).collect();
    let server = ApiServer::start();
    for pod in &pods {
        server.apply(pod);
    }
    let containers = PODS as usize * CONTAINERS_EACH;
    let room = containers.to_string();
    let flags = ["--max-containers", &room];
    let mut stage = Stage::start_with(world, Driver::Cgroupfs, server, &flags);
    stage.until("the pods are known", || stage.is_synced());
    for n in KILLED {
        let uid = uid(n);
        let place = PodPlace(Class::Burstable, &uid);
        let container = stage.container(place, Runtime::Containerd, &container_id(n));
        stage.init_dies(container);
    }
    // Others may be killed on this machine, too.
    let ours = |mut kills: Vec<Record>| {
        kills.retain(|kill| world.is_ours(kill));
        kills
    };
    let kills = || ours(stage.daemon.kills(None));
    stage.until("the kills are told", || kills().len() == KILLED.len());
    let told = kills();
    for (record, n) in told.iter().zip(KILLED) {
        assert_eq!(told_names(record), names_of(&pods[n as usize]));
    }
    let metrics = stage.daemon.metrics();
    assert_eq!(metrics.value("oom_probe_series_refused_total"), 0);
    let scraped = scraped(&stage, containers, &pods);
    stage.until("each has a line", || ours(stage.daemon.written()) == told);
    let resident = stage.daemon.resident_kb();
    assert!(resident < ROOM, "{resident} KiB");
    format!("{containers} containers, {scraped}; {resident} KiB resident")
}

/// Pod number `n`, whose first container has the same number.
fn running(n: u32) -> PodJson {
    let pod = hostile(n);
    let container = text(&pod.0["spec"]["containers"][0]["name"]);
    pod.running(&container, n)
}

/// Namespace, pod and container as the API server has them.
fn names_of(pod: &PodJson) -> [String; 3] {
    let metadata = &pod.0["metadata"];
    let container = &pod.0["spec"]["containers"][0];
    [
        &metadata["namespace"],
        &metadata["name"],
        &container["name"],
    ]
    .map(text)
}

fn told_names(record: &Record) -> [String; 3] {
    let pod = record.pod.as_ref().unwrap();
    let names = [&pod.namespace, &pod.name, &pod.container];
    names.map(|name| name.clone().unwrap_or_default())
}

fn text(name: &Value) -> String {
    name.as_str().unwrap().to_owned()
}

/// What a real Prometheus makes of it, where there is one.
fn scraped(stage: &Stage<'_>, containers: usize, pods: &[PodJson]) -> String {
    if let Err(reason) = prometheus::available() {
        return reason;
    }
    let jobs = [("text", Format::Text), ("openmetrics", Format::OpenMetrics)];
    let address = stage.daemon.address();
    let prometheus = Prometheus::start(&Config {
        scrapes: jobs
            .map(|(job, format)| Scrape {
                // It is the time that a scrape may take, too.
                interval: Duration::from_secs(10),
                ..Scrape::of(job, address, format)
            })
            .to_vec(),
        ..Config::default()
    });
    let kills = "oom_probe_container_oom_kills_total";
    for (job, _) in jobs {
        prometheus.until(&format!(r#"count({kills}{{job="{job}"}})"#), |samples| {
            samples
                .first()
                .is_some_and(|all| all.value == containers as f64)
        });
        let counted = prometheus.query(&format!(r#"{kills}{{job="{job}"}} == 1"#));
        let mut counted: Vec<_> = counted
            .iter()
            .map(|sample| {
                ["namespace", "pod", "container"].map(|name| sample.label(name).to_owned())
            })
            .collect();
        let mut killed = KILLED.map(|n| names_of(&pods[n as usize])).to_vec();
        counted.sort();
        killed.sort();
        assert_eq!(counted, killed, "{job}");
    }
    "each read by Prometheus as it is".to_owned()
}
