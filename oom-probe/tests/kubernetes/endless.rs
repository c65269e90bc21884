//! What an API server sends without end does not grow the daemon.

use std::process::Command;

use super::{
    apiserver::{Answer, Call, pods::pod},
    node::recovers_from,
};

/// Set in the process that measures.
const ALONE: &str = "OOM_PROBE_TEST_ALONE";

/// Resident memory, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// In a process of its own, so that no other test's memory is in the figures.
#[test]
fn bodies_without_end_do_not_grow_the_daemon() {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        return runtime.unwrap().block_on(bodies_without_end());
    }
    let name = "kubernetes::endless::bodies_without_end_do_not_grow_the_daemon";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("1 passed"), "no test {name}: {stdout}");
}

async fn bodies_without_end() {
    let foreign = pod("elsewhere", 2)
        .spec("nodeName", "node-2".into())
        .0
        .to_string()
        + ",";
    let list = br#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":["#.to_vec();
    let cases: [(Call, Vec<u8>, Vec<u8>); 6] = [
        (Call::List, list.clone(), foreign.repeat(50).into_bytes()),
        (Call::List, list.clone(), vec![b' '; 1 << 16]),
        (
            Call::List,
            [&list[..], b"{\"x\":\""].concat(),
            vec![b'x'; 1 << 16],
        ),
        (Call::List, b"{\"kind\":\"".to_vec(), vec![b'x'; 1 << 16]),
        (Call::Watch, b"{\"type\":\"".to_vec(), vec![b'x'; 1 << 16]),
        (Call::Watch, Vec::new(), b"{\"type\":\"?\"}\n".repeat(1000)),
    ];
    for (call, start, piece) in cases {
        let shown = String::from_utf8_lossy(&start).into_owned();
        let before = resident();
        let away = recovers_from(call, Answer::Endless(start, piece)).await;
        let grown = resident().saturating_sub(before) >> 20;
        // One object of at most 4 MiB, the server in this process, and the allocator's reserve.
        assert!(grown < 32, "{call:?} {shown}: {grown} MiB more: {away}");
    }
}
