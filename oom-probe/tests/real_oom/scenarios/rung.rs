//! The daemon as a whole: how it is hooked, what it serves, what it proves.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use super::LIMIT;
use crate::case::Case;
use crate::daemon::Daemon;
use crate::harness::skipped;
use crate::wait;
use crate::world::{Running, World};

/// The hook on marks and that on one run of the OOM killer, on each emulated machine.
const EXPECTED: [(&str, &str, &str); 7] = [
    ("5.10", "signal_raw_tp", "fentry"),
    ("6.1", "raw_tp", "fentry"),
    ("6.1-rt", "raw_tp", "fentry"),
    ("6.12", "raw_tp", "fentry"),
    ("7.2", "raw_tp", "fentry"),
    ("6.12-lockdown", "tp_btf", "fentry"),
    ("6.1-v1", "raw_tp", "fentry"),
];

/// No machine tests a lower rung than it has unnoticed.
pub(crate) fn rung(world: &World) -> String {
    let World {
        hook, context, vm, ..
    } = world;
    let expected = EXPECTED
        .iter()
        .find(|(name, ..)| vm.as_deref() == Some(name));
    if let Some((name, mark, around)) = expected {
        assert_eq!(
            (hook.as_str(), context.as_str()),
            (*mark, *around),
            "{name}"
        );
    }
    format!("hook {hook}, context {context}")
}

/// `doctor` promises the hooks that the daemon gets.
pub(crate) fn doctor(world: &World) -> String {
    let mut doctor = Command::new(&world.programs().oom_probe);
    let output = doctor
        .args(["doctor", "--output", "json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    let first = |rungs: &serde_json::Value| {
        let rungs = rungs.as_array().unwrap().iter();
        let first = rungs.into_iter().find(|rung| rung["state"] == "first");
        first
            .map_or("none", |rung| rung["name"].as_str().unwrap())
            .to_owned()
    };
    let promised = (first(&found["hooks"]), first(&found["contexts"]));
    let got = (world.hook.clone(), world.context.clone());
    assert_eq!(promised, got, "{said}");
    format!("hook {}, context {}", promised.0, promised.1)
}

/// What all other scenarios have put into /metrics is well formed.
pub(crate) fn exposition(world: &World) -> String {
    let text = world.daemon.get("/metrics");
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        return skipped("promtool is not installed");
    };
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
    "promtool accepts it".to_owned()
}

/// Each kill is one line of standard output and one record of the API, in the same order.
pub(crate) fn log_and_api_agree(world: &World) -> String {
    let ids = |kills: Vec<capture::model::kill::Record>| -> Vec<String> {
        kills.into_iter().map(|record| record.kill.id).collect()
    };
    let both = || {
        let served = ids(world.daemon.kills(None));
        (served, ids(world.daemon.written()))
    };
    let (served, _) = wait::until("both tell the same", both, |(served, written)| {
        served == written
    });
    format!("{} kills", served.len())
}

/// A daemon to whom the kernel seems to have counted one kill more than it saw.
pub(crate) fn hidden_kill(world: &World) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let proc_root = scratch.path().join("proc");
    mirror_proc(&proc_root);
    let count = |more: u64| {
        let text = fs::read_to_string("/proc/vmstat").unwrap();
        let lines = text
            .lines()
            .map(|line| match line.strip_prefix("oom_kill ") {
                Some(kills) => format!("oom_kill {}\n", kills.parse::<u64>().unwrap() + more),
                None => format!("{line}\n"),
            });
        fs::write(proc_root.join("vmstat"), lines.collect::<String>()).unwrap();
    };
    count(0);
    let flags = ["--proc-root", proc_root.to_str().unwrap()];
    let program = &world.programs().oom_probe;
    let daemon = Daemon::start(program, scratch.path(), &flags).unwrap();
    // It tells a distance only once that has stayed for a moment.
    let unaccounted = |what: &str, expected: u64| {
        let look = || daemon.metrics().value("oom_probe_unaccounted_kills");
        wait::until(what, look, |unaccounted| *unaccounted == expected)
    };
    unaccounted("nothing is wrong", 0);
    count(1);
    unaccounted("a kill that nobody saw", 1);
    count(0);
    unaccounted("nothing is wrong any more", 0);

    let mut case = Case::begin(world);
    let cgroup = world.limited("seen", LIMIT);
    Running::start(&cgroup, world.hog(&["grow", "--interval", "0"]))
        .end()
        .killed();
    case.kills(1);
    unaccounted("a kill that the kernel did not count", 1);
    "told when a kill is hidden".to_owned()
}

/// A directory that looks like /proc, whose vmstat can be written.
fn mirror_proc(root: &Path) {
    fs::create_dir(root).unwrap();
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        if name != "vmstat" {
            symlink(Path::new("/proc").join(&name), root.join(&name)).unwrap();
        }
    }
}
