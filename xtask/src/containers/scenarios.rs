//! What has to hold for the daemon in a container.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::cluster::{Cluster, KubePod, Until};
use super::engine::Engine;
use super::node::{self, Node, PROBE_CAPABILITIES, VICTIM_LIMIT, VICTIM_USER, check_rights};
use super::pod::Pod;
use crate::image::Images;

/// A scenario: its name, and what it does; it fails where something is not as it should be.
pub(super) type Scenario = (&'static str, fn(&Engine, &Images) -> Result<()>);

pub(super) const ALL: [Scenario; 4] = [
    (
        "a_container_with_two_capabilities_captures_the_kill_of_another",
        captures,
    ),
    (
        "kills_while_the_container_is_down_are_there_afterwards",
        restarts,
    ),
    (
        "a_container_that_lives_on_is_told_from_one_that_ended",
        outcomes,
    ),
    ("the_cleanup_leaves_nothing_on_the_node", cleans_up),
];

/// An id as containerd's own: the kill record has to name the container by it.
fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn captures(engine: &Engine, images: &Images) -> Result<()> {
    let node = Node::new(engine, images, "captures")?;
    let mut probe = node.probe("captures")?;
    check_rights(
        &probe.proc("status")?,
        &probe.proc("mountinfo")?,
        PROBE_CAPABILITIES,
    )?;
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

/// A crash, after which the kubelet makes a new container, and then a rollout: each time with a
/// kill while there is no daemon.
fn restarts(engine: &Engine, images: &Images) -> Result<()> {
    let node = Node::new(engine, images, "restarts")?;
    let mut probe = node.probe("restarts-0")?;
    let mut victims = vec![id('b')];
    node.victim(&victims[0])?;
    node.kills(&mut probe, &victims[0], 1)?;
    for (restart, signal, while_down) in [(1, "SIGKILL", 'c'), (2, "SIGTERM", 'd')] {
        probe.kill(signal)?;
        drop(probe);
        victims.push(id(while_down));
        node.victim(&id(while_down))?;
        probe = node.probe(&format!("restarts-{restart}"))?;
        ensure!(
            probe
                .said()
                .contains("taking over what an earlier daemon pinned in /host/bpf/oom-probe"),
            "it began anew: {}",
            probe.said()
        );
        for victim in &victims {
            let kills = node.kills(&mut probe, victim, 1)?;
            check(&kills[0], &node.cgroup(victim))?;
        }
    }
    Ok(())
}

/// The probe has a PID namespace of its own, and sees no process of either container.
fn outcomes(engine: &Engine, images: &Images) -> Result<()> {
    let node = Node::new(engine, images, "outcomes")?;
    let [lives, ends] = [KubePod::new("a-lives", '1'), KubePod::new("b-ends", '2')];
    let pods = [lives, ends];
    let mut cluster = Cluster::start(engine, images, &node, &pods)?;
    cluster.check_pid_namespace()?;
    let [lives, ends] = &pods;
    let forever = ["--max", "forever", "--interval", "0ms"];
    let herd = [
        "herd",
        "--children",
        "1",
        "--rounds",
        "forever",
        "--pause",
        "1h",
    ];
    let herd = [&herd[..], &forever[..]].concat();
    let grow = [&["grow"][..], &forever[..]].concat();
    cluster.dies(lives, &herd, Until::Says("killed by SIGKILL"))?;
    cluster.dies(ends, &grow, Until::Ends)?;
    cluster.tells(&[("a-lives", "ProcessOOMKilled"), ("b-ends", "OOMKilled")])?;
    cluster.probe.kill("SIGTERM")
}

fn cleans_up(engine: &Engine, images: &Images) -> Result<()> {
    let node = Node::new(engine, images, "cleanup")?;
    let cleanup = Pod::of_daemon_set("cleanup/daemon-set.yaml", "oom-probe-cleanup")?;
    let mut probe = node.probe("cleanup-probe")?;
    node.victim(&id('e'))?;
    node.kills(&mut probe, &id('e'), 1)?;

    let unpin = |name| node.run_to_end(name, &cleanup, cleanup.init_container()?);
    let refused = unpin("cleanup-early").err().map(|error| error.to_string());
    ensure!(
        refused
            .as_ref()
            .is_some_and(|why| why.contains("/host/bpf/oom-probe is held by")),
        "it does not mind a running probe: {refused:?}"
    );
    node.kills(&mut probe, &id('e'), 1)?;
    probe.kill("SIGTERM")?;
    drop(probe);
    ensure!(
        node.left()?.len() == 2,
        "not pins and state: {:?}",
        node.left()?
    );

    let said = unpin("cleanup-unpin")?;
    ensure!(said.contains("unpinned /host/bpf/oom-probe"), "{said}");
    ensure!(node.left()?.is_empty(), "it leaves {:?}", node.left()?);
    let done = node.run("cleanup-done", &cleanup, cleanup.container()?)?;
    done.says("nothing is pinned in /host/bpf/oom-probe")?;
    check_rights(&done.proc("status")?, &done.proc("mountinfo")?, 0)?;
    done.kill("SIGTERM")?;
    ensure!(node.left()?.is_empty(), "it leaves {:?}", node.left()?);

    // Nothing records any more, in places of the kernel's where no file shows.
    node.victim(&id('f'))?;
    let mut probe = node.probe("cleanup-anew")?;
    node.kills(&mut probe, &id('f'), 0)?;
    node.kills(&mut probe, &id('e'), 0)?;
    Ok(())
}

/// What a kill record of [`Node::victim`] has to say.
fn check(kill: &Value, cgroup: &str) -> Result<()> {
    let expected = [
        ("/scope", json!("host")),
        ("/limit", json!("container")),
        ("/node", json!(node::NAME)),
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
