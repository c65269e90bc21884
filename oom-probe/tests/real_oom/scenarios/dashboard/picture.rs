//! What the dashboard shows after a few minutes of kills, for `deploy/dashboard/picture.html` to draw.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::{Value, json};

use super::super::pods::shapes::{CRONJOB, DEPLOYMENT, EPHEMERAL, STATIC, whole};
use super::super::pods::stage::Stage;
use super::exporter::{self, Exporter};
use super::{container, deploy, file, scraping};
use crate::harness::skipped;
use crate::kubelet::{Class, Driver, Runtime};
use crate::prometheus::{self, Prometheus};
use crate::world::{Running, World};

/// Names the file to write. Nobody looks at a picture on each run of the tests.
const WANTED: &str = "OOM_PROBE_DASHBOARD_DATA";
const LASTS: Duration = Duration::from_secs(150);
/// Of the memory that the fixtures speak of.
const LIMIT: u64 = 16 << 20;

pub(crate) fn picture(world: &World) -> String {
    let Some(path) = env::var_os(WANTED) else {
        return skipped(&format!("a picture is made where {WANTED} names a file"));
    };
    if let Err(reason) = prometheus::available() {
        return skipped(&reason);
    }
    let deploy = deploy().expect("the sources are here");
    let pods = [DEPLOYMENT, EPHEMERAL, STATIC, CRONJOB].map(whole);
    let mut stage = Stage::start(world, Driver::Systemd, &pods);
    let [cart, db, etcd, _] = &pods;
    let app = container(&mut stage, cart, Class::Burstable, Runtime::Containerd);
    let postgres = container(&mut stage, db, Class::Guaranteed, Runtime::Crio);
    let etcd = container(&mut stage, etcd, Class::Burstable, Runtime::Containerd);
    let usage = [app, postgres].map(|number| stage.cgroup(number).directory().to_owned());
    let limit = LIMIT.to_string();
    let exporters = [
        Exporter::start("kube-state-metrics", move || {
            let limits = ["2.68435456e+08", "1.073741824e+09"];
            replaced(exporter::KUBE_STATE_METRICS, limits, [&limit, &limit])
        }),
        Exporter::start("cadvisor", move || {
            let [app, postgres] = [used(&usage[0]), used(&usage[1])];
            let fixed = ["2.43564544e+08", "6.12368384e+08"];
            replaced(exporter::CADVISOR, fixed, [&app, &postgres])
        }),
    ];
    let prometheus = scraping(&stage, &exporters, &deploy);

    let began = Instant::now();
    thread::sleep(Duration::from_secs(10));
    stage.runs(app, &herd("4s"));
    stage.runs(etcd, &herd("21s"));
    let outside = world.cgroup("batch.service");
    outside.set_limit(LIMIT).unwrap();
    let mut next = Duration::from_secs(25);
    while began.elapsed() < LASTS {
        if began.elapsed() > next {
            stage.init_dies(postgres);
            Running::start(&outside, world.hog(&["grow", "--interval", "0"])).end();
            next += Duration::from_secs(45);
        }
        thread::sleep(Duration::from_millis(200));
    }
    let data = answered(&prometheus, file(&deploy), began.elapsed());
    fs::write(path, format!("const dashboard = {data};\n")).unwrap();
    "the answers to all queries".to_owned()
}

fn herd(pause: &str) -> [&str; 9] {
    let rounds = ["herd", "--children", "1", "--rounds", "forever", "--pause"];
    let [a, b, c, d, e, f] = rounds;
    [a, b, c, d, e, f, pause, "--interval", "5ms"]
}

fn replaced(text: &str, fixed: [&str; 2], by: [&str; 2]) -> String {
    text.replace(fixed[0], by[0]).replace(fixed[1], by[1])
}

/// What a cgroup uses, by the file of either version.
fn used(cgroup: &Path) -> String {
    let file = |name| fs::read_to_string(cgroup.join(name)).ok();
    let usage = file("memory.usage_in_bytes").or_else(|| file("memory.current"));
    usage.unwrap_or_default().trim().to_owned()
}

/// The dashboard, each query with its result.
fn answered(prometheus: &Prometheus, mut dashboard: Value, lasted: Duration) -> Value {
    let now = prometheus.query("time()")[0].value;
    let from = now - lasted.as_secs_f64();
    let range = format!("{}s", lasted.as_secs());
    for panel in dashboard["panels"].as_array_mut().unwrap() {
        for target in panel["targets"].as_array_mut().into_iter().flatten() {
            let expression = target["expr"]
                .as_str()
                .unwrap()
                .replace("$__rate_interval", "2s")
                .replace("$__range", &range);
            let expression = ["namespace", "workload", "pod", "node"]
                .iter()
                .fold(expression, |text, name| {
                    text.replace(&format!("${name}"), ".*")
                });
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("query", &expression);
            let path = if target["instant"] == true {
                query.append_pair("time", &now.to_string());
                "query"
            } else {
                query.append_pair("start", &from.to_string());
                query.append_pair("end", &now.to_string());
                query.append_pair("step", "2");
                "query_range"
            };
            let data = prometheus.get(&format!("/api/v1/{path}?{}", query.finish()));
            target["result"] = data["result"].clone();
        }
    }
    dashboard["range"] = json!([from, now]);
    dashboard
}
