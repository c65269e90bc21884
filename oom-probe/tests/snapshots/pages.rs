//! What the servers answer, but for the values of `/metrics`.

use std::{net::SocketAddr, sync::Arc};

use oom_probe::{
    http::{Api, ApiAccess, App, Probe, Status, bind, serve},
    sinks::{history::History, metrics::Metrics},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{hold, kills};

struct Idle(Status);

impl Probe for Idle {
    fn refresh(&self) {}

    fn status(&self) -> Status {
        self.0.clone()
    }
}

fn app(api: Api, status: Status) -> App {
    App {
        registry: Metrics::new().1,
        api,
        api_access: ApiAccess::Loopback,
        probe: Box::new(Idle(status)),
    }
}

/// A daemon that has recorded all kills.
pub(super) fn kills() -> App {
    let history = Arc::new(History::new(100));
    for (_, record) in kills::all() {
        history.push(&record).unwrap();
    }
    let details = vec![("kubernetes", "synced, 31 pods".into())];
    let stuck = None;
    app(Api::Kills(history), Status { stuck, details })
}

/// A daemon that has recorded none, and hangs.
pub(super) fn nothing() -> App {
    let status = Status {
        stuck: Some("no turn for 30 s".into()),
        details: Vec::new(),
    };
    app(Api::Kills(Arc::new(History::new(100))), status)
}

fn oom_group() -> App {
    app(Api::OomGroup(Box::new(|| "{}\n".into())), Status::default())
}

pub(super) async fn start(app: Arc<App>) -> SocketAddr {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, app));
    address
}

/// Head and body of the answer.
async fn ask(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    // The length is the body's, the date any.
    let head = head
        .lines()
        .filter(|line| !line.starts_with("date: ") && !line.starts_with("content-length: "));
    let head = head.map(|line| format!("{line}\n")).collect();
    (head, body.to_owned())
}

#[tokio::test]
async fn pages() {
    let mut text = String::new();
    for (daemon, requests) in [
        (
            kills(),
            &[
                "GET /",
                "GET /metrics",
                "GET /healthz",
                "GET /readyz",
                "GET /api/v1/kills?limit=0",
                "GET /api/v1/kills?limits=3",
                "GET /api/v1/kills?limit=many",
                "GET /api/v1/kills?since=yesterday",
                "GET /api/v1/kills?wait=soon",
                "GET /api/v1/oom-group",
                "GET /other",
                "POST /metrics",
                "POST /api/v1/kills",
            ][..],
        ),
        (nothing(), &["GET /healthz", "GET /readyz"]),
        (
            oom_group(),
            &["GET /", "GET /api/v1/oom-group", "GET /api/v1/kills"],
        ),
    ] {
        let address = start(Arc::new(daemon)).await;
        for request in requests {
            let (head, body) = ask(address, request).await;
            // Metrics have a snapshot of their own.
            let body = if *request == "GET /metrics" {
                String::new()
            } else {
                body
            };
            text += &format!("> {request}\n{head}\n{body}\n");
        }
    }
    hold("pages.txt", &text);
}

/// So the records' own snapshot holds for them.
#[tokio::test]
async fn a_page_of_kills_is_the_records_one_a_line() {
    let address = start(Arc::new(kills())).await;
    let (_, body) = ask(address, "GET /api/v1/kills").await;
    let records = kills::all();
    let records = records.iter().map(|(_, it)| serde_json::to_string(it));
    let records: Vec<_> = records.map(Result::unwrap).collect();
    assert_eq!(body, format!("[{}]\n", records.join(",\n")));
}
