//! What a full node costs: 250 pods with three containers each, whole objects as an API server
//! sends them, and a daemon that knows them and is scraped.
//!
//!     sudo cargo run -p oom-probe --example full-node -- target/release/oom-probe
//!
//! Prints a line for each figure: what, measured, budget, with tabs between. `cargo xtask bench`
//! takes them into its table.

#[expect(
    dead_code,
    reason = "the scripted API server can do more than is needed here"
)]
#[path = "../../tests/apiserver/mod.rs"]
mod apiserver;
#[path = "../../tests/real_oom/http.rs"]
mod http;
mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use apiserver::{
    ApiServer, Call,
    pods::{PodJson, container_id, uid},
};
use process::Daemon;

const PODS: u32 = 250;
const SCRAPES: u32 = 200;
/// Status updates of each pod while it is measured.
const UPDATES: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// A Deployment's pod of Kubernetes 1.33: an init container that is done, a sidecar, an app.
const POD: &str = include_str!("../../tests/fixtures/pods/deployment-containerd-1.33.json");

const TEXT: &str = "text/plain;version=0.0.4";
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

fn main() -> Result<()> {
    let program = std::env::args_os().nth(1);
    let program = program.context("name the daemon: full-node target/release/oom-probe")?;
    let server = ApiServer::start();
    for n in 0..PODS {
        server.apply(&pod(n, 0));
    }
    let daemon = Daemon::start(Path::new(&program), &server)?;
    until("the pods are known", || {
        Ok(metric(&text(daemon.address)?, "oom_probe_kubernetes_synced") == Some(1.0))
    })?;

    let memory = daemon.memory()?;
    let budget = "12 MiB";
    row("full node: resident memory", &memory.resident(), budget);
    row("full node: peak resident memory", &memory.peak(), "24 MiB");
    row(
        "full node: its cgroup's working set, ring and page tables included",
        &daemon.working_set()?,
        "",
    );

    scrapes(&daemon)?;
    api(&daemon, &server)?;
    let memory = daemon.memory()?;
    let what = format!(
        "full node: resident memory after {SCRAPES} scrapes and {} pod updates",
        PODS * UPDATES
    );
    row(&what, &memory.resident(), budget);
    Ok(())
}

fn scrapes(daemon: &Daemon) -> Result<()> {
    let text = text(daemon.address)?;
    let beginning = |part: &str| text.lines().filter(|line| line.starts_with(part)).count();
    let (all, containers) = (beginning("oom_probe_"), beginning("oom_probe_container_"));
    let figures = format!("{all}, {containers} of them of containers");
    row("full node: series", &figures, "3 per container at rest");
    for (format, accept) in [("text", TEXT), ("OpenMetrics", OPEN_METRICS)] {
        let plain = size(daemon.address, &[("Accept", accept)])?;
        let gzip = size(
            daemon.address,
            &[("Accept", accept), ("Accept-Encoding", "gzip")],
        )?;
        row(
            &format!("full node: bytes per scrape, {format}"),
            &format!("{}, {} by gzip", kib(plain), kib(gzip)),
            "",
        );
    }
    for (how, headers) in [
        ("text", &[("Accept", TEXT)][..]),
        (
            "OpenMetrics by gzip",
            &[("Accept", OPEN_METRICS), ("Accept-Encoding", "gzip")],
        ),
    ] {
        let (began, cpu) = (Instant::now(), daemon.cpu()?);
        for _ in 0..SCRAPES {
            size(daemon.address, headers)?;
        }
        let (took, cpu) = (began.elapsed() / SCRAPES, (daemon.cpu()? - cpu) / SCRAPES);
        let figures = format!("{} of CPU, {} in all", ms(cpu), ms(took));
        row(&format!("full node: one scrape, {how}"), &figures, "");
    }
    Ok(())
}

/// What the daemon asks of the API server, and what updates of its pods cost it.
fn api(daemon: &Daemon, server: &ApiServer) -> Result<()> {
    let address: SocketAddr = server.url().trim_start_matches("http://").parse()?;
    let query = "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&resourceVersion=0";
    let [lists, watches, others] =
        [Call::List, Call::Watch, Call::Other].map(|call| server.requests(call).len());
    let list = http::get_with(address, query, &[]).map_err(anyhow::Error::msg)?;
    row(
        "full node: asked of the API server",
        &format!(
            "{lists} list of {}, {watches} watch, {others} others",
            kib(list.len())
        ),
        "one list from its cache, one watch",
    );

    let cpu = daemon.cpu()?;
    for update in 1..=UPDATES {
        for n in 0..PODS {
            server.apply(&pod(n, update));
        }
    }
    // One more pod comes after all updates.
    server.apply(&pod(PODS, 0));
    until("the last update is known", || {
        Ok(text(daemon.address)?.contains(&format!("pod=\"{}\"", name(PODS))))
    })?;
    let each = (daemon.cpu()? - cpu) / (PODS * UPDATES);
    row("full node: CPU per pod update", &ms(each), "");
    Ok(())
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
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn row(what: &str, measured: &str, budget: &str) {
    println!("{what}\t{measured}\t{budget}");
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn kib(bytes: usize) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}
