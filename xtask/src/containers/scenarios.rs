//! What has to hold for the daemon in a container.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::engine::Engine;
use super::node::{Node, VICTIM_LIMIT, VICTIM_USER, check_rights};
use crate::image::Images;

/// A scenario: its name, and what it does; it fails where something is not as it should be.
pub(super) type Scenario = (&'static str, fn(&Engine, &Images) -> Result<()>);

pub(super) const ALL: [Scenario; 2] = [
    (
        "a_container_with_two_capabilities_captures_the_kill_of_another",
        captures,
    ),
    ("a_restarted_container_goes_on_capturing", restarts),
];

/// An id as containerd's own: the kill record has to name the container by it.
fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn captures(engine: &Engine, images: &Images) -> Result<()> {
    let node = Node::new(engine, images, "captures")?;
    let mut probe = node.probe("captures")?;
    check_rights(&probe.proc("status")?, &probe.proc("mountinfo")?)?;
    let victim = id('a');
    node.victim(&victim)?;
    let kills = node.kills(&mut probe, &victim, 1)?;
    check(&kills[0], &node.cgroup(&victim))?;
    let doctor = probe.exec(&["oom-probe", "doctor"])?;
    ensure!(
        doctor.contains("raw_tp") || doctor.contains("tp_btf"),
        "doctor: {doctor}"
    );
    probe.kill("SIGTERM")?;
    ensure!(
        probe.said().contains("stopped by SIGTERM"),
        "it was not told to stop: {}",
        probe.said()
    );
    Ok(())
}

fn restarts(engine: &Engine, images: &Images) -> Result<()> {
    let node = Node::new(engine, images, "restarts")?;
    let mut probe = node.probe("restarts")?;
    node.victim(&id('b'))?;
    node.kills(&mut probe, &id('b'), 1)?;
    probe.kill("SIGKILL")?;
    probe.start_again()?;
    probe.says("capturing OOM kills")?;
    // What was told before is not forgotten.
    node.kills(&mut probe, &id('b'), 1)?;
    node.victim(&id('c'))?;
    let kills = node.kills(&mut probe, &id('c'), 1)?;
    check(&kills[0], &node.cgroup(&id('c')))
}

/// What a kill record of [`Node::victim`] has to say.
fn check(kill: &Value, cgroup: &str) -> Result<()> {
    let expected = [
        ("/scope", json!("host")),
        ("/limit", json!("container")),
        ("/node", json!("node-1")),
        ("/victim/comm", json!("hog")),
        ("/victim/uid", json!(VICTIM_USER)),
        ("/victim/kind", json!("child")),
        ("/cgroup/path", json!(cgroup)),
        ("/cgroup/limit_bytes", json!(VICTIM_LIMIT)),
        ("/trigger/same_container", json!(true)),
    ];
    for (field, value) in expected {
        let told = kill.pointer(field);
        ensure!(
            told == Some(&value),
            "{field} is {told:?}, not {value}: {kill}"
        );
    }
    Ok(())
}
