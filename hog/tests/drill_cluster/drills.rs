//! The drills.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::shop::{Cluster, Script};
use crate::stopped::stopped;

struct Drill {
    cluster: Cluster,
    directory: tempfile::TempDir,
}

impl Drill {
    fn on(script: Script) -> Self {
        Self {
            cluster: Cluster::start(script),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, flags: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hog"));
        command
            .args(["drill", "--deployment", "cart", "-n", "shop"])
            .args(["--interval", "4ms"])
            .arg("--out")
            .arg(self.directory.path().join("report"))
            .args(flags.split_whitespace())
            .env(
                "KUBECONFIG",
                self.cluster.server.kubeconfig(self.directory.path()),
            )
            .env_remove("OOM_PROBE_URL")
            .stdin(Stdio::null());
        for (flag, value) in [("--baseline", "200ms"), ("--recover-within", "120s")] {
            if !flags.contains(flag) {
                command.args([flag, value]);
            }
        }
        command
    }

    fn run(&self, flags: &str) -> Output {
        self.command(flags).output().unwrap()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join("report").join(name)).unwrap()
    }

    fn data(&self) -> Value {
        serde_json::from_str(&self.read("drill.json")).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn code(output: &Output, expected: i32) -> String {
    let said = said(output);
    assert_eq!(output.status.code(), Some(expected), "{said}");
    said
}

fn missed(data: &Value) -> Vec<&str> {
    let criteria = data["criteria"].as_array().unwrap().iter();
    let missed = criteria.filter(|criterion| criterion["finding"] != "met");
    missed
        .map(|criterion| criterion["name"].as_str().unwrap())
        .collect()
}

#[test]
fn a_replica_dies_and_comes_back_and_the_report_tells_it_all() {
    let drill = Drill::on(Script::default());
    let said = code(&drill.run("--yes"), 0);
    assert!(said.contains("drill passed"), "{said}");
    let data = drill.data();
    assert_eq!(data["verdict"], "passed");
    assert_eq!(missed(&data), [""; 0], "{said}");
    assert_eq!(
        data["kills"].as_array().unwrap().len(),
        1,
        "not someone else's"
    );
    assert_eq!(data["metrics"].as_array().unwrap().len(), 1);
    assert_eq!(data["deaths"][0]["exit_code"], 137);
    assert_eq!(data["changes"], json!([]));
    let allocation = data["allocation"].as_array().unwrap().iter();
    let held = allocation
        .map(|point| point["bytes"].as_u64().unwrap())
        .max();
    // What the last look before the kill saw.
    assert!(held >= Some(32 << 20) && held < Some(128 << 20), "{held:?}");
    assert_eq!(drill.cluster.shop.patches(), [Value::Null; 0]);

    let page = drill.read("report.md");
    for part in [
        "# OOM drill: Deployment shop/cart — passed",
        "memory.oom.group is 1",
        "the kernel kills hog\\[4711\\]",
        "ended with exit code 137, reason OOMKilled",
        "started again (restart 1)",
        "shop/cart-0, container app",
    ] {
        assert!(page.contains(part), "{part}\n---\n{page}");
    }
    assert!(drill.read("memory.svg").contains(">cart-1<"));
}

#[test]
fn what_it_changes_it_puts_back() {
    let script = Script {
        limit: "1024Mi",
        ..Script::default()
    };
    let drill = Drill::on(script);
    let said = code(&drill.run("--yes --limit 128M"), 0);
    let patches = drill.cluster.shop.patches();
    let limits: Vec<_> =
        patches
            .iter()
            .map(|patch| {
                &patch["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
            })
            .collect();
    assert_eq!(limits, ["134217728", "1024Mi"], "{said}");
    assert_eq!(drill.cluster.shop.limit(), 1 << 30);
    assert_eq!(drill.data()["changes"].as_array().unwrap().len(), 1);
}

#[test]
fn what_it_was_forced_to_change_is_put_back_too() {
    let script = Script {
        namespace_labels: json!({"oom-probe.io/drill": "forbidden"}),
        deployment_annotations: json!({"argocd.argoproj.io/tracking-id": "shop:cart"}),
        limit: "1024Mi",
        ..Script::default()
    };
    let drill = Drill::on(script);
    let said = code(&drill.run("--yes --force --limit 128M"), 0);
    assert!(drill.cluster.shop.was_made_to_grow(), "{said}");
    assert_eq!(drill.cluster.shop.patches().len(), 2, "{said}");
    assert_eq!(drill.cluster.shop.limit(), 1 << 30);
}

#[test]
fn what_it_changed_is_put_back_after_an_error() {
    let script = Script {
        limit: "1024Mi",
        ..Script::default()
    };
    let drill = Drill::on(script);
    // Port 1 of the loopback interface: no probe listens there.
    let said = code(
        &drill.run("--yes --limit 128M --probe http://127.0.0.1:1"),
        1,
    );
    assert!(said.contains("oom-probe does not answer"), "{said}");
    assert_eq!(drill.cluster.shop.patches().len(), 2, "{said}");
    assert_eq!(drill.cluster.shop.limit(), 1 << 30);
    assert!(!drill.cluster.shop.was_made_to_grow());
}

#[test]
fn ctrl_c_ends_it_with_everything_put_back() {
    let script = Script {
        limit: "1024Mi",
        ..Script::default()
    };
    let drill = Drill::on(script);
    let command = drill.command("--yes --limit 128M --baseline 1h");
    let (code, rest) = stopped(command, "the client asks", libc::SIGINT);
    assert_eq!(code, Some(3), "{rest:?}");
    assert!(
        rest.iter().any(|line| line.contains("put back")),
        "{rest:?}"
    );
    assert_eq!(drill.cluster.shop.limit(), 1 << 30);
    assert!(!drill.cluster.shop.was_made_to_grow());
    assert!(
        drill
            .read("report.md")
            .contains("the drill was stopped: Ctrl-C")
    );
}

#[test]
fn a_process_beside_the_service_dies_alone_without_the_group() {
    let script = Script {
        oom_group: false,
        ..Script::default()
    };
    let drill = Drill::on(script);
    let said = code(&drill.run("--yes --exec"), 0);
    let data = drill.data();
    assert_eq!(data["plan"]["expected"], "survives");
    assert_eq!(missed(&data), [""; 0], "{said}");
    assert_eq!(data["deaths"], json!([]));
    let page = drill.read("report.md");
    assert!(
        page.contains("| ok | The container went on, without a restart | 0 restarts |"),
        "{page}"
    );
    assert!(page.contains("Its container went on."), "{page}");
}

#[test]
fn a_process_beside_the_service_takes_the_container_along_with_the_group() {
    let drill = Drill::on(Script::default());
    let said = code(&drill.run("--yes --exec"), 0);
    assert_eq!(drill.data()["deaths"][0]["reason"], "OOMKilled", "{said}");
    assert!(
        !drill.data()["memory"]["cart-0"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_container_that_stays_down_fails_the_drill() {
    let script = Script {
        restarts: false,
        ..Script::default()
    };
    let drill = Drill::on(script);
    let said = code(&drill.run("--yes --recover-within 1s"), 3);
    assert!(
        said.contains("MISSED      It was started again by itself"),
        "{said}"
    );
    assert!(said.contains("drill FAILED"), "{said}");
    assert_eq!(
        missed(&drill.data()),
        [
            "It was started again by itself",
            "It was ready again in time"
        ]
    );
}

#[test]
fn it_refuses_what_it_may_not_touch() {
    let marked = Script {
        namespace_labels: json!({"oom-probe.io/drill": "forbidden"}),
        ..Script::default()
    };
    let managed = Script {
        deployment_annotations: json!({"argocd.argoproj.io/tracking-id": "shop:cart"}),
        limit: "1024Mi",
        ..Script::default()
    };
    for (script, flags, expected, named) in [
        (
            marked.clone(),
            "--yes",
            1,
            "oom-probe.io/drill: forbidden; --force",
        ),
        (
            managed.clone(),
            "--yes --limit 128M",
            1,
            "managed by Argo CD",
        ),
        // Forced, but not asked: the question comes, and there is nobody to answer it.
        (marked, "--force", 2, "say --yes"),
        (
            managed,
            "--force --limit 128M",
            2,
            "memory limit of app 1024Mi → 128 MiB",
        ),
        (Script::default(), "", 2, "say --yes"),
        (
            Script::default(),
            "--yes --allocate 100M",
            2,
            "would fit under the limit",
        ),
        (Script::default(), "--yes --container db", 1, "it has app"),
        (Script::default(), "--yes --service a/b", 1, "no service"),
    ] {
        let drill = Drill::on(script);
        let said = code(&drill.run(flags), expected);
        assert!(said.contains(named), "{flags}: {said}");
        assert!(!drill.cluster.shop.was_made_to_grow(), "{flags}");
        assert_eq!(drill.cluster.shop.patches(), [Value::Null; 0], "{flags}");
    }
}

#[test]
fn a_drill_that_is_stopped_gives_back_what_was_taken() {
    let script = Script {
        limit: "1000Mi",
        ..Script::default()
    };
    let drill = Drill::on(script);
    let command = drill.command("--yes --allocate 2000M");
    let (code, rest) = stopped(command, "cart-0 holds", libc::SIGTERM);
    assert_eq!(code, Some(3), "{rest:?}");
    assert!(drill.cluster.shop.was_freed(), "{rest:?}");
}
