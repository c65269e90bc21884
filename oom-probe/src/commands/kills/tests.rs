//! The command against a server on loopback.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::task::JoinHandle;

use super::*;
use crate::http::{Api, ApiAccess, App, Probe, Status, bind, serve};
use crate::sinks::fixture;
use crate::sinks::history::History;
use crate::sinks::metrics::Metrics;

/// Nothing here takes as long on a machine that is alive.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts the requests for kills.
struct Idle(Arc<AtomicUsize>);

impl Probe for Idle {
    fn refresh(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn status(&self) -> Status {
        Status::default()
    }
}

/// A daemon that can be stopped and started again at the same address.
struct Served {
    address: SocketAddr,
    history: Arc<History>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

async fn start(address: SocketAddr) -> Served {
    let listener = bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let history = Arc::new(History::new(100));
    let requests = Arc::new(AtomicUsize::new(0));
    let app = App {
        registry: Metrics::new().1,
        api: Api::Kills(Arc::clone(&history)),
        api_access: ApiAccess::Loopback,
        probe: Box::new(Idle(Arc::clone(&requests))),
    };
    let task = tokio::spawn(async move {
        serve(listener, Arc::new(app)).await;
    });
    Served {
        address,
        history,
        requests,
        task,
    }
}

impl Served {
    async fn anywhere() -> Self {
        start("127.0.0.1:0".parse().unwrap()).await
    }

    fn kill(&self, id: &str, container: &str) {
        let record = fixture::from(&json!({"id": id, "pod": {"container": container}}));
        self.history.push(&record).unwrap();
    }
}

fn args(address: SocketAddr, flags: &[&str]) -> KillsArgs {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: KillsArgs,
    }
    let url = format!("--url=http://{address}");
    let all = ["kills", &url].into_iter().chain(flags.iter().copied());
    <Command as clap::Parser>::try_parse_from(all).unwrap().args
}

/// Standard output that a test can look at while it is being written.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(bytes.clone()).unwrap()
    }

    fn ids(&self) -> Vec<String> {
        let text = self.text();
        let objects = text.lines().map(|line| serde_json::from_str(line).unwrap());
        objects
            .map(|object: serde_json::Value| object["id"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn until(&self, ids: &[&str]) {
        let shown = async {
            while self.ids() != ids {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let shown = tokio::time::timeout(PATIENCE, shown).await;
        assert!(shown.is_ok(), "{:?} instead of {ids:?}", self.ids());
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn run_once(address: SocketAddr, flags: &[&str]) -> Screen {
    let mut screen = Screen::default();
    let result = list(&args(address, flags), &mut screen).await;
    assert!(result.is_ok());
    screen
}

#[tokio::test]
async fn flags_narrow_what_is_shown() {
    let daemon = Served::anywhere().await;
    for (id, container) in [
        ("k1", "app"),
        ("k2", "sidecar"),
        ("k3", "app"),
        ("k4", "app"),
    ] {
        daemon.kill(id, container);
    }
    let table: [(&[&str], &[&str]); 7] = [
        (&[], &["k1", "k2", "k3", "k4"]),
        (&["--limit=2"], &["k3", "k4"]),
        (&["--container=app"], &["k1", "k3", "k4"]),
        (&["--container=sidecar", "--limit=1"], &["k2"]),
        (&["--workload=deployment/cart", "--limit=1"], &["k4"]),
        (&["-n", "other"], &[]),
        (&["--since=2025-11-20T12:03:45Z"], &[]),
    ];
    for (flags, expected) in table {
        let flags = [flags, &["--output=json"]].concat();
        assert_eq!(
            run_once(daemon.address, &flags).await.ids(),
            expected,
            "{flags:?}"
        );
    }
}

#[tokio::test]
async fn json_is_what_the_daemon_sent() {
    let daemon = Served::anywhere().await;
    daemon.history.push(&fixture::pod_child()).unwrap();
    let shown = run_once(daemon.address, &["-o", "json"]).await.text();
    let sent = daemon
        .history
        .select(&crate::sinks::history::Query::default());
    assert_eq!(shown.trim_end().as_bytes(), &*sent[0]);
}

#[tokio::test]
async fn a_table_has_a_header_and_a_row_per_kill() {
    let daemon = Served::anywhere().await;
    assert_eq!(run_once(daemon.address, &[]).await.text(), "");
    daemon.kill("k1", "app");
    let table = run_once(daemon.address, &[]).await.text();
    assert!(table.starts_with("TIME "), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");
}

#[tokio::test]
async fn following_shows_each_kill_once_over_a_restart() {
    let daemon = Served::anywhere().await;
    daemon.kill("k1", "app");
    let screen = Screen::default();
    let follow = args(
        daemon.address,
        &["--follow", "--output=json", "--container=app"],
    );
    let mut out = screen.clone();
    let following = tokio::spawn(async move { list(&follow, &mut out).await.is_ok() });
    screen.until(&["k1"]).await;
    daemon.kill("k2", "sidecar");
    daemon.kill("k3", "app");
    screen.until(&["k1", "k3"]).await;

    daemon.task.abort();
    let _ = daemon.task.await;
    let daemon = start(daemon.address).await;
    daemon.kill("k4", "app");
    screen.until(&["k1", "k3", "k4"]).await;
    assert!(!following.is_finished());
    following.abort();
}

#[tokio::test]
async fn following_begins_with_the_first_kill_of_an_empty_history() {
    let daemon = Served::anywhere().await;
    let screen = Screen::default();
    let follow = args(daemon.address, &["--follow", "--output=json", "--since=1h"]);
    let mut out = screen.clone();
    let following = tokio::spawn(async move { list(&follow, &mut out).await.is_ok() });
    // The second request is the one that waits.
    let waits = async {
        while daemon.requests.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waits = tokio::time::timeout(PATIENCE, waits).await;
    assert!(waits.is_ok(), "{:?} requests", daemon.requests);
    let now = Timestamp::now().to_string();
    let record = fixture::from(&json!({"id": "k1", "time": now}));
    daemon.history.push(&record).unwrap();
    screen.until(&["k1"]).await;
    following.abort();
}

/// Answers every request with the same bytes.
async fn stranger(answer: &'static str) -> SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn each_failure_is_one_line_that_says_what_to_try() {
    let gone = Served::anywhere().await;
    gone.task.abort();
    let _ = gone.task.await;
    let forbidden = "HTTP/1.1 403 Forbidden\r\ncontent-length: 20\r\n\r\n{\"error\": \"not you\"}";
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";
    let newer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n[{\"new\": 1}]";
    for (address, flags, expected) in [
        (gone.address, &[][..], "is `oom-probe run` running there?"),
        (
            gone.address,
            &["--follow"][..],
            "is `oom-probe run` running there?",
        ),
        (
            stranger(forbidden).await,
            &["--follow"][..],
            "refuses: not you",
        ),
        (stranger(page).await, &[][..], "is no oom-probe"),
        (stranger(newer).await, &[][..], "cannot read"),
        (stranger("no http").await, &[][..], "no oom-probe answers"),
    ] {
        let error = run(args(address, flags)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

/// A pipe whose reader has gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_closed_pipe_ends_it() {
    let daemon = Served::anywhere().await;
    daemon.kill("k1", "app");
    for flags in [&["-o", "json"][..], &["--follow"]] {
        let failure = list(&args(daemon.address, flags), &mut Closed).await;
        let Err(Failure::Output(error)) = failure else {
            panic!("a closed pipe went unnoticed");
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
