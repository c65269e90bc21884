//! `hog drill` on this machine: real replicas and a real kill, without a probe to ask. It needs root,
//! and says so where it is skipped.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hog::cgroup::Hierarchy;
use serde_json::Value;

use crate::stopped::stopped;

/// They share the CPUs, and one of them measures silence.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> Option<MutexGuard<'static, ()>> {
    // SAFETY: geteuid(2) takes no argument.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: not root, and making a memory cgroup takes root");
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

const QUICK: &str = "drill --limit 32M --allocate 48M --interval 10ms --restart-after 200ms \
                     --silence 120s --recover-within 120s";

fn drill(out: &Path, flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hog"));
    command
        .args(QUICK.split_whitespace())
        .args(flags.split_whitespace())
        .arg("--out")
        .arg(out)
        .env_remove("OOM_PROBE_URL")
        .stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn data(out: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(out.join("drill.json")).unwrap()).unwrap()
}

fn left_behind() -> Vec<String> {
    let root = Hierarchy::detect().unwrap().root;
    let names = std::fs::read_dir(root).unwrap().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("oom-probe-drill-"))
        .collect()
}

#[test]
fn a_replica_dies_and_comes_back_while_the_other_one_serves() {
    let Some(_alone) = alone() else { return };
    let directory = tempfile::tempdir().unwrap();
    let output = drill(directory.path(), "--probe none --baseline 300ms")
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("not checked oom-probe recorded it: no probe was asked"),
        "{said}"
    );

    let data = data(directory.path());
    assert_eq!(data["verdict"], "passed");
    assert_eq!(data["kernel_kills"], 1);
    assert_eq!(data["deaths"].as_array().unwrap().len(), 1);
    assert_eq!(data["deaths"][0]["exit_code"], 137);
    assert_eq!(data["deaths"][0]["reason"], "OOMKilled");
    assert_eq!(data["deaths"][0]["replica"], "replica-0");
    let served = &data["requests"]["by_replica"];
    assert!(served["replica-1"].as_u64() > Some(0), "{served}");
    let most = |series: &Value| {
        let points = series.as_array().unwrap().iter();
        points
            .map(|point| point["bytes"].as_u64().unwrap())
            .max()
            .unwrap()
    };
    // The curve gets near the limit, and what was held stays below it.
    assert!(most(&data["memory"]["replica-0"]) > 24 << 20, "{said}");
    assert!(most(&data["allocation"]) < 32 << 20, "{said}");
    let page = std::fs::read_to_string(directory.path().join("report.md")).unwrap();
    for part in [
        "asked to take 48 MiB",
        "replica-0 | holds ",
        "started again",
        "serves requests again",
    ] {
        assert!(page.contains(part), "{part}\n---\n{page}");
    }
    assert_eq!(left_behind(), [""; 0]);
}

#[test]
fn ctrl_c_ends_it_and_leaves_nothing() {
    let Some(_alone) = alone() else { return };
    let directory = tempfile::tempdir().unwrap();
    let command = drill(directory.path(), "--probe none --baseline 1h");
    let (code, rest) = stopped(command, "the client asks", libc::SIGINT);
    assert_eq!(code, Some(3), "{rest:?}");
    assert_eq!(data(directory.path())["verdict"], "failed");
    assert_eq!(left_behind(), [""; 0]);
}

#[test]
fn without_a_probe_to_ask_it_does_no_harm_and_says_how_to_go_on() {
    let Some(_alone) = alone() else { return };
    let directory = tempfile::tempdir().unwrap();
    // Port 1 of the loopback interface: nobody listens there.
    let output = drill(directory.path(), "--probe http://127.0.0.1:1").output();
    let output = output.unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("no probe at http://127.0.0.1:1; start `oom-probe run`"),
        "{said}"
    );
    assert!(!directory.path().join("report.md").exists());
    assert_eq!(left_behind(), [""; 0]);
}
