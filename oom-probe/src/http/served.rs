//! The server as its peers see it, over real sockets on loopback.

mod waiting;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use flate2::read::GzDecoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;
use crate::sinks::history::History;
use crate::{
    model::kill::Record,
    sinks::{fixture, metrics::Metrics},
};

/// Nothing here takes as long on a machine that is alive.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts its refreshes, also on a metric that is always there.
struct CountingProbe(Metrics, Status, Arc<AtomicUsize>);

impl Probe for CountingProbe {
    fn refresh(&self) {
        self.0.records_received.inc();
        self.2.fetch_add(1, Ordering::Relaxed);
    }

    fn status(&self) -> Status {
        self.1.clone()
    }
}

pub(super) fn app() -> App {
    app_with(Status {
        details: vec![("kubernetes", "off".into())],
        ..Status::default()
    })
}

fn app_with(status: Status) -> App {
    counted_app(status).0
}

/// And how many requests for kills or metrics it has got.
fn counted_app(status: Status) -> (App, Arc<AtomicUsize>) {
    let (metrics, registry) = Metrics::new();
    let requests = Arc::new(AtomicUsize::new(0));
    let app = App {
        registry,
        api: Api::Kills(Arc::new(History::new(10))),
        api_access: ApiAccess::Loopback,
        probe: Box::new(CountingProbe(metrics, status, Arc::clone(&requests))),
    };
    (app, requests)
}

/// Stops the clock while this is held, so that what the server does in time it cannot do.
fn stopped_clock() -> mpsc::Sender<()> {
    tokio::time::pause();
    // A paused clock goes on by itself when everybody waits, but not beside a blocking task.
    let (hold, held) = mpsc::channel();
    tokio::task::spawn_blocking(move || held.recv());
    hold
}

fn history(app: &App) -> &History {
    match &app.api {
        Api::Kills(history) => history,
        Api::OomGroup(_) => unreachable!("these tests serve kills"),
    }
}

async fn start(app: App) -> (SocketAddr, Arc<App>) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Arc::new(app);
    let served = Arc::clone(&app);
    tokio::spawn(async move { serve(listener, served).await });
    (address, app)
}

/// A response, its head in lower case.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("the response has a head");
        Self {
            head: String::from_utf8_lossy(&bytes[..end]).to_lowercase(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn code(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

async fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    Answer::parse(&response)
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1")).await
}

#[tokio::test]
async fn every_route_answers_in_its_own_type() {
    let (address, app) = start(app()).await;
    history(&app).push(&fixture::pod_child()).unwrap();
    let text = "text/plain; charset=utf-8";
    let exposition = "text/plain; version=0.0.4; charset=utf-8";
    for (path, code, content_type, part) in [
        ("/", 200, "text/html; charset=utf-8", "/api/v1/kills"),
        ("/metrics", 200, exposition, "oom_probe_kills_total{"),
        ("/metrics?x=y", 200, exposition, "oom_probe_kills_total{"),
        ("/healthz", 200, text, "ok\n"),
        ("/readyz", 200, text, "ready\nkubernetes: off\n"),
        (
            "/api/v1/kills",
            200,
            "application/json",
            "\"comm\":\"python3\"",
        ),
        ("/api/v1/kills?limit=x", 400, "application/json", "limit="),
        ("/api/v1/kill", 404, "application/json", "{\"error\":"),
        ("/metric", 404, text, "not found"),
    ] {
        let answer = get(address, path).await;
        assert_eq!(answer.code(), code, "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert!(answer.text().contains(part), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_formats_of_metrics_are_negotiated() {
    let (address, _) = start(app()).await;
    let answer = ask(
        address,
        "GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text; version=1.0.0\r\n\
         accept-encoding: gzip",
    )
    .await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    GzDecoder::new(&*answer.body)
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let (address, _) = start(app()).await;
    for request in [
        "POST /metrics",
        "PUT /",
        "DELETE /api/v1/kills",
        "OPTIONS *",
    ] {
        let answer = ask(address, &format!("{request} HTTP/1.1\r\ncontent-length: 0")).await;
        assert_eq!(answer.code(), 405, "{request}");
        assert_eq!(answer.header("allow"), Some("get, head"), "{request}");
    }
    let answer = ask(address, "HEAD /healthz HTTP/1.1").await;
    assert_eq!((answer.code(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), Some("3"));
}

#[tokio::test]
async fn a_stuck_reader_is_not_alive_and_still_ready() {
    let (address, _) = start(app_with(Status {
        stuck: Some("it has not run for 40 s".into()),
        details: vec![("kubernetes", "synced, 31 pods".into())],
    }))
    .await;
    let health = get(address, "/healthz").await;
    assert_eq!(health.code(), 503);
    assert!(health.text().contains("for 40 s"), "{}", health.text());
    let ready = get(address, "/readyz").await;
    assert_eq!(ready.code(), 200);
    assert_eq!(ready.text(), "ready\nkubernetes: synced, 31 pods\n");
}

#[tokio::test]
async fn each_scrape_and_each_read_of_the_api_refreshes_first() {
    let (address, _) = start(app()).await;
    for path in ["/healthz", "/readyz", "/api/v1/kills"] {
        assert_eq!(get(address, path).await.code(), 200);
    }
    let scrape = get(address, "/metrics").await.text();
    let received = "oom_probe_records_received_total 2";
    assert!(scrape.lines().any(|line| line == received), "{scrape}");
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let (address, _) = start(app()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"ok\n") {
            assert!(stream.read_buf(&mut response).await.unwrap() > 0);
        }
        assert!(response.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn a_request_line_of_10_megabytes_is_refused_early() {
    let (address, _) = start(app()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let line = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(10 << 20));
    let sending = timeout(PATIENCE, stream.write_all(line.as_bytes()));
    let refused = match sending.await.expect("the server does not just let it hang") {
        Err(_) => true,
        Ok(()) => {
            let mut response = Vec::new();
            stream.read_to_end(&mut response).await.is_err()
                || matches!(Answer::parse(&response).code(), 414 | 431)
        }
    };
    assert!(refused);
    assert_eq!(get(address, "/healthz").await.code(), 200);
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let (address, _) = start(app()).await;
    let header = format!("GET /healthz HTTP/1.1\r\nx: {}", "a".repeat(2 * MAX_HEAD));
    assert_eq!(ask(address, &header).await.code(), 431);
    let many = format!("GET /healthz HTTP/1.1{}", "\r\nx: 1".repeat(200));
    assert_eq!(ask(address, &many).await.code(), 431);
}

#[tokio::test]
async fn two_hundred_silent_connections_do_not_keep_a_scrape_out() {
    let (address, _) = start(app()).await;
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\n")
                .await
                .unwrap();
        }
        silent.push(stream);
    }
    // Before any of them has had its time.
    let _stopped = stopped_clock();
    assert_eq!(get(address, "/metrics").await.code(), 200);
}

#[tokio::test]
async fn scrapers_that_never_read_do_not_keep_a_scrape_out() {
    let mut app = app();
    let series = Family::<Vec<(&str, String)>, Counter>::default();
    for number in 0..10_000 {
        series.get_or_create_owned(&vec![("number", format!("{number:0>500}"))]);
    }
    app.registry
        .register("many", "More than sockets buffer", series);
    let (address, _) = start(app).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        unread.push(stream);
    }
    let scrape = timeout(PATIENCE, get(address, "/metrics"));
    let scrape = scrape.await.expect("an answer");
    assert_eq!(scrape.code(), 200);
    let announced = scrape.header("content-length").unwrap();
    assert_eq!(announced, scrape.body.len().to_string());
    // What they did not take is not kept for all of them.
    let mut cut = Vec::new();
    let _ = unread[0].read_to_end(&mut cut).await;
    assert!(cut.len() < scrape.body.len(), "{} bytes", cut.len());
}

// Paused time runs on only while everything waits: seconds pass without taking any.
#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_is_cut_off_after_10_seconds() {
    let (address, _) = start(app()).await;
    for pause in [Duration::from_secs(1), Duration::from_secs(3600)] {
        let begun = Instant::now();
        let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
        let trickle = async move {
            for byte in b"GET /metrics HTTP/1.1\r\nhost: localhost".iter().cycle() {
                if writer.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        };
        let mut response = Vec::new();
        tokio::select! {
            _ = reader.read_to_end(&mut response) => {}
            () = trickle => {}
        }
        let seconds = begun.elapsed().as_secs();
        assert!((9..=12).contains(&seconds), "{pause:?}: {seconds} s");
        assert!(response.is_empty());
    }
}
