//! What the README shows: the lines, the table, a record and an Event of real kills on a node with
//! pods, in cgroups where the kubelet has them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use hog::cgroup::Cgroup;
use serde::Serialize;

use super::pods::shapes::{self, CRONJOB, DEPLOYMENT, whole};
use super::pods::stage::{GROW, HERD};
use crate::apiserver::{ApiServer, pods::PodJson};
use crate::case::shown;
use crate::container::start_init;
use crate::daemon::Daemon;
use crate::harness::skipped;
use crate::kubelet::{Class, Driver, Runtime};
use crate::wait;
use crate::world::{Running, World};

/// Names the directory to write to. Nobody reads a sample on each run of the tests.
const WANTED: &str = "OOM_PROBE_SAMPLE";
const NODE: &str = "node-1";
const MIB: u64 = 1 << 20;

pub(crate) fn sample(world: &World) -> String {
    let Some(directory) = env::var_os(WANTED).map(PathBuf::from) else {
        return skipped(&format!(
            "a sample is made where {WANTED} names a directory"
        ));
    };
    if world.hierarchy.root.join("kubepods.slice").exists() {
        return skipped("this is a node of a cluster: its kubelet's cgroups are not for samples");
    }
    fs::create_dir_all(&directory).unwrap();
    let (cart, backup) = (whole(DEPLOYMENT), whole(CRONJOB));
    let server = ApiServer::start();
    server.apply(&cart);
    server.apply(&backup);
    let scratch = tempfile::tempdir().unwrap();
    let lines = fs::File::create(directory.join("log.txt")).unwrap();
    let daemon = start(world, &server, scratch.path(), lines);

    let app = container(world, &cart, "app", Runtime::Containerd, 256);
    let mut python = start_init(&app, world.hog(&named("python3", &HERD)));
    python.line("killed by SIGKILL");
    let job = container(world, &backup, "backup", Runtime::CriDockerd, 128);
    start_init(&job, world.hog(&named("pg_dump", &GROW)))
        .end()
        .killed();
    let service = cgroup(world, "system.slice/report.service", 64);
    Running::start(&service, world.hog(&named("java", &GROW)))
        .end()
        .killed();

    let posted = || server.events().len() >= 2;
    wait::until_so("two Events", posted, || daemon.log());
    let kills = Command::new(&world.programs().oom_probe)
        .args(["kills", "--url", &daemon.url()])
        .output()
        .unwrap();
    assert!(kills.status.success(), "{kills:?}");
    fs::write(directory.join("kills.txt"), kills.stdout).unwrap();
    let records = daemon.kills(None);
    assert_eq!(records.len(), 3, "{}", shown(&records));
    write(&directory.join("record.json"), &records[0]);
    write(&directory.join("events.json"), &server.events());
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    format!("{} kills in {}", records.len(), directory.display())
}

/// A daemon that writes its lines to a file, and knows the pods.
fn start(world: &World, server: &ApiServer, scratch: &Path, lines: fs::File) -> Daemon {
    let mut command = Command::new(&world.programs().oom_probe);
    command
        .args(["run", "--kubernetes", "on", "--node", NODE])
        .args(["--output", "text", "--cgroup-root"])
        .arg(&world.hierarchy.root)
        .env("KUBECONFIG", server.kubeconfig(scratch));
    let daemon = Daemon::start_to(command, scratch, lines.into()).unwrap();
    let knows = || daemon.metrics().value("oom_probe_kubernetes_synced") == 1;
    wait::until_so("the pods are known", knows, || daemon.log());
    daemon
}

/// The cgroup of a pod's app container, by the systemd driver.
fn container(world: &World, pod: &PodJson, name: &str, runtime: Runtime, mebibytes: u64) -> Cgroup {
    let of_pod = Driver::Systemd.pod(Class::Burstable, &shapes::uid(pod));
    let id = shapes::id(pod, "containerStatuses", name);
    let of_container = Driver::Systemd.container(runtime, &id);
    cgroup(world, &format!("{of_pod}/{of_container}"), mebibytes)
}

fn cgroup(world: &World, path: &str, mebibytes: u64) -> Cgroup {
    let cgroup = Cgroup::create(&world.hierarchy, path).unwrap();
    cgroup.set_limit(mebibytes * MIB).unwrap();
    cgroup
}

fn named<'a>(comm: &'a str, hog: &[&'a str]) -> Vec<&'a str> {
    [&["--comm", comm], hog].concat()
}

fn write(path: &Path, value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).unwrap();
    fs::write(path, text + "\n").unwrap();
}
