//! A cluster of many nodes, on paper: what was measured on one node, times their number.

use super::pods::Node;
use super::section::Section;

const NODES: f64 = 5000.0;
/// Pods of a node.
const PODS: u32 = 110;
/// What the watch is renewed after, s: four to six minutes.
const WATCH: f64 = 300.0;
/// Updates of a pod's status in its life and what that life is, s: a guess, for the order of size.
const UPDATES: f64 = 10.0;
const LIFE: f64 = 24.0 * 3600.0;
const SCRAPE_EVERY: f64 = 30.0;
/// What Prometheus keeps in memory for an active series, bytes: the rule of thumb of its users,
/// not measured here.
const PER_SERIES: f64 = 4096.0;
/// What a rolling update starts at once: `maxUnavailable: 10%` of the DaemonSet.
const AT_ONCE: f64 = 0.1;

/// What follows for the cluster; none if no such node was measured.
pub(super) fn on_paper(nodes: &[Node]) -> Option<Section> {
    let node = nodes.iter().find(|node| node.pods == PODS)?;
    let mut section = Section::table(
        "A cluster of 5,000 nodes, on paper",
        "Nobody ran it: these are the figures of the node with 110 pods, multiplied.",
        &["what", "comes to", "from"],
    );
    let mut row = |what: &str, comes_to: String, from: String| {
        section.row([what.to_owned(), comes_to, from]);
    };
    let pods = NODES * f64::from(PODS);
    row(
        "API server: requests at rest",
        format!("{:.0}/s", NODES / WATCH),
        format!("a watch per node, renewed every {WATCH:.0} s"),
    );
    let updates = pods * UPDATES / LIFE;
    row(
        "API server: sent for changes of pods",
        format!(
            "{:.0}/s, {:.1} MB/s",
            updates,
            updates * node.update as f64 / 1e6
        ),
        format!(
            "each pod changes {UPDATES:.0} times and lives a day; each change goes to one node"
        ),
    );
    row(
        "API server: lists during an update of the DaemonSet",
        format!(
            "{:.0} MB at most at once",
            NODES * AT_ONCE * node.list as f64 / 1e6
        ),
        format!(
            "a tenth of the nodes at once, {:.2} MB each, from its cache",
            node.list as f64 / 1e6
        ),
    );
    let series = NODES * node.series as f64;
    row(
        "Prometheus: active series",
        format!("{:.1} million", series / 1e6),
        format!("{} per node", node.series),
    );
    row(
        "Prometheus: memory for them",
        format!("{:.0} GiB", series * PER_SERIES / f64::from(1 << 30)),
        "4 KiB per active series: a rule of thumb, not measured".to_owned(),
    );
    row(
        "Prometheus: scraped over the network",
        format!(
            "{:.1} MB/s",
            NODES * node.scrape.gzip as f64 / SCRAPE_EVERY / 1e6
        ),
        format!("every {SCRAPE_EVERY:.0} s, by gzip"),
    );
    Some(section)
}
