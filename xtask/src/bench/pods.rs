//! The daemon on nodes with more and more pods: an example of oom-probe's measures it, which has
//! the scripted API server of the tests.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::section::{Budget, Section};
use super::spread::{kib, mib};
use crate::cmd;

/// Pods of a node: none, the kubelet's default limit, a large node, the most that anybody runs.
const PODS: [u32; 4] = [0, 110, 250, 1000];
/// The number that budgets are about.
const BUDGETED: u32 = 250;

/// As the example prints it: bytes, and ms of CPU.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Node {
    pub(super) pods: u32,
    resident: u64,
    anon: u64,
    peak: u64,
    working_set: u64,
    idle_cpu_ms_per_minute: f64,
    idle_switches_per_second: f64,
    pub(super) series: u64,
    container_series: u64,
    pub(super) scrape: Scrape,
    lists: u64,
    watches: u64,
    other_requests: u64,
    pub(super) list: u64,
    pub(super) update: u64,
    update_cpu_ms: Option<f64>,
    resident_at_last: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Scrape {
    text: u64,
    open_metrics: u64,
    pub(super) gzip: u64,
    text_cpu_ms: f64,
    gzip_cpu_ms: f64,
}

/// A line of the table.
type Line = (&'static str, fn(&Node) -> String);

const LINES: [Line; 15] = [
    ("resident memory", |node| mib(node.resident)),
    ("… of it anonymous", |node| mib(node.anon)),
    ("peak: start and first list", |node| mib(node.peak)),
    (
        "working set of its cgroup, ring and page tables included",
        |node| mib(node.working_set),
    ),
    ("resident after scrapes and 2,000 updates", |node| {
        mib(node.resident_at_last)
    }),
    ("idle: CPU a minute", |node| {
        format!("{:.2} ms", node.idle_cpu_ms_per_minute)
    }),
    ("idle: voluntary context switches", |node| {
        format!("{:.2}/s", node.idle_switches_per_second)
    }),
    ("series, of them of containers", |node| {
        format!("{}, {}", node.series, node.container_series)
    }),
    ("bytes of a scrape: text", |node| kib(node.scrape.text)),
    ("… OpenMetrics", |node| kib(node.scrape.open_metrics)),
    ("… by gzip", |node| kib(node.scrape.gzip)),
    ("CPU of a scrape, by gzip", |node| {
        format!(
            "{:.2} ms, {:.2} ms",
            node.scrape.text_cpu_ms, node.scrape.gzip_cpu_ms
        )
    }),
    ("asked of the API server", |node| {
        let Node {
            lists,
            watches,
            other_requests,
            ..
        } = node;
        format!("{lists} list, {watches} watch, {other_requests} others")
    }),
    ("bytes of the list; of an update", |node| {
        format!("{}; {}", kib(node.list), kib(node.update))
    }),
    ("CPU for an update", |node| {
        node.update_cpu_ms
            .map_or_else(String::new, |ms| format!("{ms:.3} ms"))
    }),
];

/// Measures nodes of each size.
///
/// # Errors
/// The example cannot be built, or does not come to an end.
pub(super) fn measure(oom_probe: &Path, idle: u64) -> Result<Vec<Node>> {
    PODS.into_iter()
        .map(|pods| {
            eprintln!("bench: a node with {pods} pods, {idle} s idle");
            node(oom_probe, pods, idle)
        })
        .collect()
}

fn node(oom_probe: &Path, pods: u32, idle: u64) -> Result<Node> {
    let mut cargo = cmd::cargo();
    cargo.args(["run", "--quiet", "--locked", "--package", "oom-probe"]);
    cargo.args(["--example", "full-node", "--"]).arg(oom_probe);
    cargo.args([pods.to_string(), idle.to_string()]);
    let output = cargo.stderr(Stdio::inherit()).output();
    let output = output.context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`{}` failed: {}", cmd::shown(&cargo), output.status);
    }
    serde_json::from_slice(&output.stdout).context("the example prints something else")
}

/// All sizes beside each other.
pub(super) fn table(nodes: &[Node]) -> Section {
    let mut header = vec!["pods".to_owned()];
    header.extend(nodes.iter().map(|node| node.pods.to_string()));
    let header: Vec<_> = header.iter().map(String::as_str).collect();
    let mut section = Section::table(
        "Nodes by number of pods",
        "A scripted API server sends whole Pod objects of Kubernetes 1.33, each with three \
         containers that run. Memory is of the daemon alone; its code counts as resident too.",
        &header,
    );
    for (what, value) in LINES {
        section.row([what.to_owned()].into_iter().chain(nodes.iter().map(value)));
    }
    if let (Some(first), Some(last)) = (nodes.first(), nodes.last())
        && last.pods > first.pods
    {
        let more = last.resident.saturating_sub(first.resident);
        section.note(format!(
            "A pod costs {} of resident memory, by the first and the last column.",
            kib(more / u64::from(last.pods - first.pods))
        ));
    }
    section
}

/// The size that budgets are about, held against them.
pub(super) fn judged(nodes: &[Node]) -> Section {
    let mut section = Section::figures(
        "A node with 250 pods",
        "The column of the next table that the budgets are about.",
    );
    let mib_of = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for node in nodes.iter().filter(|node| node.pods == BUDGETED) {
        let most = |most, text| Budget { most, text };
        let resident = node.resident.max(node.resident_at_last);
        section.judged(
            "resident memory, the larger of before and after",
            mib(resident),
            mib_of(resident),
            most(12.0, "12 MiB"),
        );
        section.judged(
            "peak resident memory",
            mib(node.peak),
            mib_of(node.peak),
            most(24.0, "24 MiB"),
        );
        section.judged(
            "idle: CPU a minute",
            format!("{:.2} ms", node.idle_cpu_ms_per_minute),
            node.idle_cpu_ms_per_minute,
            most(3.0, "3 ms a minute"),
        );
        section.judged(
            "idle: voluntary context switches",
            format!("{:.2}/s", node.idle_switches_per_second),
            node.idle_switches_per_second,
            most(0.2, "0.2/s"),
        );
        section.judged(
            "asked of the API server, beside the one list",
            format!(
                "{} list, {} watch, {} others",
                node.lists, node.watches, node.other_requests
            ),
            (node.lists + node.watches + node.other_requests) as f64,
            most(2.0, "one list from its cache, one watch"),
        );
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"{"pods":250,"resident":13631488,"anon":1,"peak":1,"working_set":1,
        "idle_cpu_ms_per_minute":0.5,"idle_switches_per_second":0.1,"series":2336,
        "container_series":2250,"scrape":{"text":1,"open_metrics":1,"gzip":1,"text_cpu_ms":1.0,
        "gzip_cpu_ms":1.0},"lists":1,"watches":1,"other_requests":0,"list":1,"update":1,
        "update_cpu_ms":null,"resident_at_last":1}"#;

    #[test]
    fn what_the_example_prints_is_held_against_the_budgets() {
        let node: Node = serde_json::from_str(PRINTED).unwrap();
        let text = judged(&[node]).markdown();
        assert!(
            text.contains("| 13.0 MiB | 12 MiB | **missed** |"),
            "{text}"
        );
        assert!(text.contains("| 0.50 ms | 3 ms a minute | met |"), "{text}");
    }
}
