//! What an API server sends without end does not grow the daemon.
//!
//! A process of its own, so that no other test's memory is in the figures.
#![expect(
    dead_code,
    reason = "the scripted API server and the node can do more than is needed here"
)]

#[path = "apiserver/mod.rs"]
mod apiserver;
#[path = "kubernetes/node.rs"]
mod node;

use apiserver::{Answer, Call, pods::pod};
use node::recovers_from;

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

#[tokio::test]
async fn bodies_without_end_do_not_grow_the_daemon() {
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
