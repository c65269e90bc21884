//! What a peer sends, through the server to its answer.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::{Api, ApiAccess, App, Probe, Status, serve_stream};
use crate::sinks::history::History;
use crate::sinks::metrics::Metrics;

/// A daemon without a kernel.
struct Nothing;

impl Probe for Nothing {
    fn refresh(&self) {}

    fn status(&self) -> Status {
        Status::default()
    }
}

/// Input: everything that the peer sends before it closes its side. Waiting for a kill takes no
/// time here.
pub(super) fn run(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let answer = runtime.block_on(exchange(input));
    assert!(answer.len() <= 1 << 20, "{} bytes", answer.len());
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."));
    let head = answer
        .split(|byte| *byte == b'\n')
        .take_while(|line| *line != b"\r");
    for line in head {
        let text = String::from_utf8_lossy(line);
        super::assert_one_line(text.trim_end_matches('\r'));
    }
}

async fn exchange(input: &[u8]) -> Vec<u8> {
    let (_, registry) = Metrics::new();
    let app = Arc::new(App {
        registry,
        api: Api::Kills(Arc::new(History::new(10))),
        api_access: ApiAccess::Everyone,
        probe: Box::new(Nothing),
    });
    let (mut peer, server) = tokio::io::duplex(64 << 10);
    let served = serve_stream(server, "127.0.0.1".parse().expect("an address"), app);
    let asked = async {
        let mut answer = Vec::new();
        // The server may hang up on the peer.
        let _ = peer.write_all(input).await;
        let _ = peer.shutdown().await;
        let _ = (&mut peer).take(1 << 21).read_to_end(&mut answer).await;
        answer
    };
    let ((), answer) = tokio::join!(served, asked);
    answer
}
