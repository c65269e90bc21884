//! The unit in `deploy/systemd`, as systemd itself reads it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most that `systemd-analyze security` may find exposed, in tenths: 0 is nothing, 100 all.
const EXPOSURE: u32 = 30;

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/oom-probe.service")
}

/// Runs systemd-analyze on the unit; none where this machine's has no such check.
fn analyze(arguments: &[&str]) -> Option<(bool, String)> {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("oom-probe.service");
    // The daemon is not installed where this runs: any program stands for it.
    let text = fs::read_to_string(unit()).unwrap();
    let program = env!("CARGO_BIN_EXE_oom-probe");
    let text = text.replace(
        "ExecStart=/usr/local/bin/oom-probe ",
        &format!("ExecStart={program} "),
    );
    assert!(text.contains(program), "{text}");
    fs::write(&copy, text).unwrap();
    let output = match Command::new("systemd-analyze")
        .args(arguments)
        .arg(&copy)
        .output()
    {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: no systemd-analyze here: {error}");
            return None;
        }
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if said.contains("unrecognized option") || said.contains("Unknown command verb") {
        eprintln!("skipped: an old systemd-analyze: {said}");
        return None;
    }
    Some((output.status.success(), said))
}

#[test]
fn systemd_finds_no_mistake_in_the_unit() {
    if let Some((succeeded, said)) = analyze(&["verify"]) {
        // Units of this machine that ours only refers to are not ours to judge.
        let ours = said.lines().find(|line| line.contains("oom-probe"));
        assert!(succeeded && ours.is_none(), "{said}");
    }
}

#[test]
fn the_unit_exposes_no_more_than_it_must() {
    let threshold = format!("--threshold={EXPOSURE}");
    if let Some((succeeded, said)) =
        analyze(&["security", "--offline=true", "--no-pager", &threshold])
    {
        assert!(succeeded, "{said}");
    }
}

#[test]
fn the_unit_gives_the_same_two_capabilities_as_the_daemon_set() {
    let text = fs::read_to_string(unit()).unwrap();
    let given: Vec<_> = text
        .lines()
        .filter(|line| line.contains("Capabilit"))
        .collect();
    assert_eq!(given, ["CapabilityBoundingSet=CAP_BPF CAP_PERFMON"]);
}
