//! What a node full of pods costs: whole objects of pods with three containers each, as an API
//! server sends them, and a daemon that knows them, is scraped, and idles.
//!
//!     sudo cargo run -p oom-probe --example full-node -- target/release/oom-probe 250 60
//!
//! How many pods there are and for how many seconds nothing happens. Prints one JSON object: sizes
//! in bytes, times in ms. `cargo xtask bench` makes a table of several.

#[expect(
    dead_code,
    reason = "the scripted API server can do more than is needed here"
)]
#[path = "../../tests/apiserver/mod.rs"]
mod apiserver;
#[path = "../../tests/real_oom/http.rs"]
mod http;
#[expect(dead_code, reason = "the tests mount more")]
#[path = "../../tests/real_oom/mounts.rs"]
mod mounts;
mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;

use apiserver::{
    ApiServer, Call,
    pods::{PodJson, container_id, uid},
};
use process::Daemon;

const SCRAPES: u32 = 100;
/// Status updates of all pods together while it is measured.
const UPDATES: u32 = 2000;
const PATIENCE: Duration = Duration::from_secs(60);
/// After the first list has been read.
const SETTLED: Duration = Duration::from_millis(500);

/// A Deployment's pod of Kubernetes 1.33: an init container that is done, a sidecar, an app.
const POD: &str = include_str!("../../tests/fixtures/pods/deployment-containerd-1.33.json");

const TEXT: &str = "text/plain;version=0.0.4";
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// What is printed.
#[derive(Serialize)]
struct Measured {
    pods: u32,
    resident: u64,
    anon: u64,
    peak: u64,
    working_set: u64,
    idle_cpu_ms_per_minute: f64,
    idle_switches_per_second: f64,
    series: usize,
    container_series: usize,
    scrape: Scrapes,
    lists: usize,
    watches: usize,
    other_requests: usize,
    list: usize,
    update: usize,
    update_cpu_ms: Option<f64>,
    resident_at_last: u64,
}

/// One scrape.
#[derive(Serialize)]
struct Scrapes {
    text: usize,
    open_metrics: usize,
    gzip: usize,
    text_cpu_ms: f64,
    gzip_cpu_ms: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [program, pods, idle] = arguments.as_slice() else {
        bail!("say: full-node target/release/oom-probe PODS SECONDS");
    };
    mounts::private_namespace()?;
    let measured = measure(Path::new(program), pods.parse()?, idle.parse()?)?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

fn measure(program: &Path, pods: u32, idle: u64) -> Result<Measured> {
    let server = ApiServer::start();
    for n in 0..pods {
        server.apply(&pod(n, 0));
    }
    // Each pod has three that run and one that is done; one more pod comes at the end.
    let daemon = Daemon::start(program, &server, 4 * (pods + 1))?;
    until("the pods are known", || {
        Ok(metric(&text(daemon.address)?, "oom_probe_kubernetes_synced") == Some(1.0))
    })?;
    thread::sleep(SETTLED);
    let memory = daemon.memory()?;
    let working_set = daemon.working_set()?;

    let (cpu, switches) = (daemon.cpu()?, daemon.voluntary_switches()?);
    let idle = Duration::from_secs(idle.max(1));
    // As an API server does about once a minute.
    thread::sleep(idle / 2);
    server.bookmark();
    thread::sleep(idle / 2);
    let cpu = ms(daemon.cpu()? - cpu);
    let switches = daemon.voluntary_switches()? - switches;

    let body = text(daemon.address)?;
    let beginning = |part: &str| body.lines().filter(|line| line.starts_with(part)).count();
    let scrape = scrapes(&daemon)?;
    let [lists, watches, other_requests] =
        [Call::List, Call::Watch, Call::Other].map(|call| server.requests(call).len());
    let update_cpu_ms = updates(&daemon, &server, pods)?;
    Ok(Measured {
        pods,
        resident: memory.resident,
        anon: memory.anon,
        peak: memory.peak,
        working_set,
        idle_cpu_ms_per_minute: cpu * 60.0 / idle.as_secs_f64(),
        idle_switches_per_second: switches as f64 / idle.as_secs_f64(),
        series: beginning("oom_probe_"),
        container_series: beginning("oom_probe_container_"),
        scrape,
        lists,
        watches,
        other_requests,
        list: list_bytes(&server)?,
        update: serde_json::to_string(&pod(0, 1).0)?.len(),
        update_cpu_ms,
        resident_at_last: daemon.memory()?.resident,
    })
}

fn scrapes(daemon: &Daemon) -> Result<Scrapes> {
    let bytes = |headers: &[(&str, &str)]| size(daemon.address, headers);
    let gzip = [("Accept", OPEN_METRICS), ("Accept-Encoding", "gzip")];
    let cpu = |headers: &[(&str, &str)]| -> Result<f64> {
        let before = daemon.cpu()?;
        for _ in 0..SCRAPES {
            bytes(headers)?;
        }
        Ok(ms(daemon.cpu()? - before) / f64::from(SCRAPES))
    };
    Ok(Scrapes {
        text: bytes(&[("Accept", TEXT)])?,
        open_metrics: bytes(&[("Accept", OPEN_METRICS)])?,
        gzip: bytes(&gzip)?,
        text_cpu_ms: cpu(&[("Accept", TEXT)])?,
        gzip_cpu_ms: cpu(&gzip)?,
    })
}

/// What the API server sends at the daemon's start.
fn list_bytes(server: &ApiServer) -> Result<usize> {
    let address: SocketAddr = server.url().trim_start_matches("http://").parse()?;
    let query = "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&resourceVersion=0";
    let list = http::get_with(address, query, &[]).map_err(anyhow::Error::msg)?;
    Ok(list.len())
}

/// CPU for each update of a pod; none without pods.
fn updates(daemon: &Daemon, server: &ApiServer, pods: u32) -> Result<Option<f64>> {
    let Some(rounds) = UPDATES.checked_div(pods) else {
        return Ok(None);
    };
    let before = daemon.cpu()?;
    for update in 1..=rounds {
        for n in 0..pods {
            server.apply(&pod(n, update));
        }
    }
    // One more pod comes after all updates.
    server.apply(&pod(pods, 0));
    until("the last update is known", || {
        Ok(text(daemon.address)?.contains(&format!("pod=\"{}\"", name(pods))))
    })?;
    Ok(Some(ms(daemon.cpu()? - before) / f64::from(rounds * pods)))
}

fn name(n: u32) -> String {
    format!("cart-7d9f8b6c5d-{n:05}")
}

/// Pod number `n` after so many updates of its status.
fn pod(n: u32, update: u32) -> PodJson {
    let mut pod: Value = serde_json::from_str(POD).expect("the fixture is JSON");
    pod["metadata"]["name"] = name(n).into();
    pod["metadata"]["uid"] = uid(n).into();
    // Three that run.
    for list in ["/spec/containers", "/status/containerStatuses"] {
        let containers = pod.pointer_mut(list).and_then(Value::as_array_mut);
        let containers = containers.expect("the fixture has an app");
        let mut worker = containers[0].clone();
        worker["name"] = "worker".into();
        containers.push(worker);
    }
    for (at, list) in ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .enumerate()
    {
        for (status, at) in pod["status"][list]
            .as_array_mut()
            .into_iter()
            .flatten()
            .zip(2 * at..)
        {
            let at = u32::try_from(at).expect("it is small");
            status["containerID"] = format!("containerd://{}", container_id(4 * n + at)).into();
            status["restartCount"] = update.into();
        }
    }
    PodJson(pod)
}

fn text(address: SocketAddr) -> Result<String> {
    http::get(address, "/metrics").map_err(anyhow::Error::msg)
}

fn size(address: SocketAddr, headers: &[(&str, &str)]) -> Result<usize> {
    let body = http::get_with(address, "/metrics", headers).map_err(anyhow::Error::msg)?;
    Ok(body.len())
}

fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

fn until(what: &str, done: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > deadline {
            bail!("never: {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
