//! What `deploy/cleanup` runs on the nodes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser as _;
use oom_probe::commands::Cli;
use serde_json::{Value, json};

use super::objects::{Objects, committed, parse};
use super::programs::{deploy, output, program};
use super::schema;

const DAEMON_SET: &str = "apps/v1 DaemonSet oom-probe-cleanup/oom-probe-cleanup";

fn cleanup(kubectl: &Path) -> Objects {
    let directory = deploy().join("cleanup");
    parse(&output(
        Command::new(kubectl).arg("kustomize").arg(directory),
    ))
}

fn pod_spec(daemon_set: &Value) -> &Value {
    &daemon_set["spec"]["template"]["spec"]
}

#[test]
fn the_cleanup_is_valid_and_goes_where_the_probe_goes() {
    let Some(kubectl) = program("kubectl") else {
        return;
    };
    let objects = cleanup(&kubectl);
    schema::assert_valid("cleanup", &objects);
    let cleanup = pod_spec(&objects[DAEMON_SET]);
    for (file, objects) in committed() {
        let probe = pod_spec(&objects["apps/v1 DaemonSet oom-probe/oom-probe"]);
        for field in ["nodeSelector", "affinity", "tolerations"] {
            assert_eq!(cleanup[field], probe[field], "{file}: {field}");
        }
        let image = |spec: &Value| spec["containers"][0]["image"].clone();
        assert_eq!(image(cleanup), image(probe), "{file}");
    }
}

#[test]
fn the_cleanup_has_no_capability_and_arguments_that_the_probe_knows() {
    let Some(kubectl) = program("kubectl") else {
        return;
    };
    let objects = cleanup(&kubectl);
    let spec = pod_spec(&objects[DAEMON_SET]);
    for list in ["initContainers", "containers"] {
        let container = &spec[list][0];
        let security = &container["securityContext"];
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{list}");
        assert_eq!(security["privileged"], false, "{list}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{list}");
        let arguments = container["args"].as_array().expect("there are arguments");
        let arguments = arguments.iter().filter_map(Value::as_str);
        if let Err(error) = Cli::try_parse_from(["oom-probe"].into_iter().chain(arguments)) {
            panic!("{list}: {error}");
        }
    }
}

#[test]
fn the_cleanup_stays_until_it_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let mut cleanup = Command::new(env!("CARGO_BIN_EXE_oom-probe"))
        .args(["unpin", "--stay", "--pin-dir"])
        .arg(directory.path().join("nothing"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut output = BufReader::new(cleanup.stdout.take().unwrap());
    output.read_line(&mut said).unwrap();
    assert!(said.starts_with("nothing is pinned in "), "{said}");
    // Its signal handlers are in place once it sleeps; one that came too early would kill it.
    let status = || std::fs::read_to_string(format!("/proc/{}/status", cleanup.id())).unwrap();
    let caught = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap() & (1 << 14) != 0
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !caught(&status()) {
        assert!(Instant::now() < deadline, "{}", status());
        thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
    let sent = unsafe { libc::kill(cleanup.id().cast_signed(), libc::SIGTERM) };
    assert_eq!(sent, 0);
    assert!(cleanup.wait().unwrap().success());
}
