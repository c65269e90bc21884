//! A real Prometheus scrapes the daemon: what its users ask for is there from the very first kill.

use crate::apiserver::pods::{container_id, pod, uid};
use crate::harness::skipped;
use crate::kubelet::{Class, Driver, Runtime};
use crate::prometheus::{self, Config, Format, Prometheus, Scrape};
use crate::world::World;

use super::pods::stage::{PodPlace, Stage};

/// The same daemon, in each of the formats that it can be asked for.
const JOBS: [(&str, Format); 2] = [("text", Format::Text), ("openmetrics", Format::OpenMetrics)];

pub(crate) fn scraped(world: &World) -> String {
    if let Err(reason) = prometheus::available() {
        return skipped(&reason);
    }
    let mut stage = Stage::start(world, Driver::Cgroupfs, &[pod("cart", 1).running("app", 1)]);
    let scrapes = JOBS.map(|(job, format)| Scrape::of(job, stage.daemon.address(), format));
    let prometheus = Prometheus::start(&Config {
        scrapes: scrapes.to_vec(),
        ..Config::default()
    });
    for (job, _) in JOBS {
        prometheus.scraped(job);
        is_in_its_format(&prometheus, job);
    }
    the_first_kill_is_an_increase(&mut stage, &prometheus);
    born_and_killed_between_two_scrapes(&mut stage, &prometheus);
    "the first kill, and one of a container that was never scraped before it".to_owned()
}

/// In OpenMetrics a counter's family is named without its `_total`.
fn is_in_its_format(prometheus: &Prometheus, job: &str) {
    let family = match job {
        "text" => "oom_probe_container_oom_kills_total",
        _ => "oom_probe_container_oom_kills",
    };
    let target = format!("%7Bjob%3D%22{job}%22%7D");
    let path = format!("/api/v1/targets/metadata?match_target={target}&metric={family}");
    let metadata = prometheus.get(&path);
    assert_eq!(metadata[0]["type"], "counter", "{job}: {metadata}");
}

/// The container was there before, at 0.
fn the_first_kill_is_an_increase(stage: &mut Stage<'_>, prometheus: &Prometheus) {
    let kills = r#"oom_probe_container_oom_kills_total{pod="cart",container="app"}"#;
    prometheus.until(&format!("{kills} == 0"), |samples| {
        samples.len() == JOBS.len()
    });
    let app = stage.container(
        PodPlace(Class::Burstable, &uid(1)),
        Runtime::Containerd,
        &container_id(1),
    );
    stage.init_dies(app);
    for expression in [
        format!("increase({kills}[5m]) > 0"),
        r#"increase(oom_probe_container_oom_events_total{pod="cart",outcome="died"}[5m]) > 0"#
            .to_owned(),
        r#"increase(oom_probe_kills_total{scope="pod",limit="container"}[5m]) > 0"#.to_owned(),
        format!("{kills} == 1"),
    ] {
        prometheus.until(&expression, |samples| samples.len() == JOBS.len());
    }
    for (job, _) in JOBS {
        prometheus.scraped(job);
    }
    let twice = prometheus.query(&format!("{kills} > 1"));
    assert!(twice.is_empty(), "{twice:?}");
}

/// Its counter is at 1 when it is first seen, which is no increase; the timestamp tells.
fn born_and_killed_between_two_scrapes(stage: &mut Stage<'_>, prometheus: &Prometheus) {
    let app = stage.container(
        PodPlace(Class::Burstable, &uid(2)),
        Runtime::Containerd,
        &container_id(2),
    );
    stage.init_dies(app);
    // The daemon has the kill before it hears of the pod: no scrape ever sees a 0.
    stage.until("the kill is counted", || {
        let pods = [r#"scope="pod""#.to_owned()];
        stage.daemon.metrics().sum("oom_probe_kills_total", &pods) == 2
    });
    stage.server.apply(&pod("born", 2).running("app", 2));
    let last = r#"oom_probe_container_last_oom_event_timestamp_seconds{pod="born",outcome="died"}"#;
    prometheus.until(&format!("time() - {last} < 600"), |samples| {
        samples.len() == JOBS.len()
    });
    for (job, _) in JOBS {
        prometheus.scraped(job);
        prometheus.scraped(job);
    }
    let kills = r#"oom_probe_container_oom_kills_total{pod="born"}"#;
    let increase = prometheus.query(&format!("increase({kills}[5m]) > 0"));
    assert!(
        increase.is_empty(),
        "the timestamp would not be needed: {increase:?}"
    );
    let counted = prometheus.query(&format!("{kills} == 1"));
    assert_eq!(counted.len(), JOBS.len(), "{counted:?}");
}
