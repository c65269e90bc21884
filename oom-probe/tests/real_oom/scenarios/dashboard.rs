//! A real Prometheus with the shipped rules scrapes the daemon, and what other exporters say of the
//! same pods: every query of the dashboard tells of the kill, and the alert fires.

mod exporter;
mod picture;

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::{Value, json};

use super::pods::shapes::{self, DEPLOYMENT, EPHEMERAL, whole};
use super::pods::stage::{PodPlace, Stage};
use crate::apiserver::pods::PodJson;
use crate::harness::skipped;
use crate::kubelet::{Class, Driver, Runtime};
use crate::panels::Panels;
use crate::prometheus::{self, Config, Format, Prometheus, Sample, Scrape};
use crate::world::World;
use exporter::Exporter;

const CART: &str = "cart-7d9f8b6c5d-x2x9z";
const DB: &str = "db-0";
const NODE: &str = "node-1";

/// What an answer has to have.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// Samples of both pods.
    BothPods,
    /// A sample with this label.
    Label(&'static str, &'static str),
    /// One sample with this value.
    Value(f64),
    /// One sample, whatever its value.
    One,
}

/// What each panel's queries have to answer after one child of `cart` was killed, whose container
/// lives on, and the first process of `db-0`.
const EXPECTED: &[(&str, Expect)] = &[
    ("Invisible OOM events", Expect::Value(1.0)),
    ("Containers that died", Expect::Value(1.0)),
    ("Nodes out of memory", Expect::Value(0.0)),
    ("Nodes watched", Expect::Value(1.0)),
    (
        "OOM events by outcome",
        Expect::Label("outcome", "survived"),
    ),
    ("Kills by limit hit", Expect::Label("limit", "container")),
    ("Last OOM events", Expect::BothPods),
    ("Top workloads", Expect::Label("workload", "cart")),
    ("OOM events by workload", Expect::Label("workload", "cart")),
    ("OOM events by container", Expect::BothPods),
    ("What each counter tells", Expect::BothPods),
    ("Memory and limit", Expect::BothPods),
    ("Memory in % of the limit", Expect::BothPods),
    ("Last victims", Expect::BothPods),
    ("Right-sizing", Expect::BothPods),
    ("Kills by node and limit", Expect::Label("node", NODE)),
    (
        "Kills by whose process it was",
        Expect::Label("scope", "pod"),
    ),
    ("Containers hit on these nodes", Expect::BothPods),
    ("Memory by pod", Expect::BothPods),
    ("Probes", Expect::Label("node", NODE)),
    ("Hooks and builds", Expect::One),
    ("From a kill to its record", Expect::One),
    (
        "Kills by the way their pod was found",
        Expect::Label("result", "live"),
    ),
    ("Memory of the probes", Expect::Label("node", NODE)),
];

pub(crate) use picture::picture;

pub(crate) fn dashboard(world: &World) -> String {
    if let Err(reason) = prometheus::available() {
        return skipped(&reason);
    }
    let Some(deploy) = deploy() else {
        return skipped("the sources are not here");
    };
    let (cart, db) = (whole(DEPLOYMENT), whole(EPHEMERAL));
    let mut stage = Stage::start(world, Driver::Systemd, &[cart.clone(), db.clone()]);
    let exporters = [
        Exporter::start("kube-state-metrics", || {
            exporter::KUBE_STATE_METRICS.to_owned()
        }),
        Exporter::start("cadvisor", || exporter::CADVISOR.to_owned()),
    ];
    let prometheus = scraping(&stage, &exporters, &deploy);

    let app = container(&mut stage, &cart, Class::Burstable, Runtime::Containerd);
    stage.child_dies(app);
    let postgres = container(&mut stage, &db, Class::Guaranteed, Runtime::Crio);
    stage.init_dies(postgres);

    fires(&prometheus, "OOMKillInvisible", CART);
    fires(&prometheus, "OOMKillContainerDied", DB);
    let panels = Panels::of(&file(&deploy));
    for query in panels.queries() {
        let (_, expected) = EXPECTED
            .iter()
            .find(|(panel, _)| *panel == query.panel)
            .unwrap_or_else(|| panic!("nothing is expected of {:?}", query.panel));
        prometheus.until(&query.filled_in(), |samples| met(*expected, samples));
    }
    let silent =
        r#"ALERTS{alertname!~"OOMKillInvisible|OOMKillContainerDied",alertstate="firing"}"#;
    let others = prometheus.query(silent);
    assert!(others.is_empty(), "{others:?}");
    let count = panels.queries().count();
    format!("{count} queries name the pods; the alert fires")
}

/// The cgroup of a pod's first container.
fn container(stage: &mut Stage<'_>, pod: &PodJson, class: Class, runtime: Runtime) -> usize {
    let uid = shapes::uid(pod);
    let name = pod.0["spec"]["containers"][0]["name"].as_str().unwrap();
    let id = shapes::id(pod, "containerStatuses", name);
    stage.container(PodPlace(class, &uid), runtime, &id)
}

/// A Prometheus with the shipped rules that has scraped each once.
fn scraping(stage: &Stage<'_>, exporters: &[Exporter], deploy: &Path) -> Prometheus {
    let mut probe = Scrape::of("oom-probe", stage.daemon.address(), Format::OpenMetrics);
    let labels = json!({"node": NODE, "instance": NODE});
    probe.more = json!({
        "honor_labels": true,
        "static_configs": [{"targets": [stage.daemon.address().to_string()], "labels": labels}],
    });
    let others = exporters
        .iter()
        .map(|exporter| Scrape::of(exporter.name, exporter.address, Format::Text));
    let scrapes: Vec<_> = others.chain([probe]).collect();
    let prometheus = Prometheus::start(&Config {
        scrapes: scrapes.clone(),
        rules: vec![deploy.join("alerts/oom-probe.rules.yaml")],
    });
    for scrape in &scrapes {
        prometheus.scraped(scrape.job);
    }
    prometheus
}

/// `deploy/` of the sources, which an emulated machine does not have.
fn deploy() -> Option<PathBuf> {
    let sources = env::var_os("CARGO_MANIFEST_DIR")?;
    let deploy = Path::new(&sources).join("../deploy");
    deploy.exists().then_some(deploy)
}

fn file(deploy: &Path) -> Value {
    let text = fs::read_to_string(deploy.join("dashboard/oom-probe.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn fires(prometheus: &Prometheus, alert: &str, pod: &str) {
    let firing = format!(r#"ALERTS{{alertname="{alert}",alertstate="firing"}}"#);
    let alerts = prometheus.until(&firing, |samples| !samples.is_empty());
    let [alert] = &alerts[..] else {
        panic!("more than one container: {alerts:?}")
    };
    assert_eq!(
        (alert.label("namespace"), alert.label("pod")),
        ("shop", pod)
    );
}

fn met(expected: Expect, samples: &[Sample]) -> bool {
    let has = |name: &str, value: &str| samples.iter().any(|sample| sample.label(name) == value);
    match expected {
        Expect::BothPods => has("pod", CART) && has("pod", DB),
        Expect::Label(name, value) => has(name, value),
        Expect::Value(value) => matches!(samples, [sample] if sample.value == value),
        Expect::One => matches!(samples, [sample] if sample.value.is_finite()),
    }
}
