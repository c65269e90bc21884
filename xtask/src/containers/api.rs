//! An API server of a few pods, in the network namespace of whoever asks it: a list, a watch that
//! tells of no change, and Events.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// Where it listens, on the loopback interface of that network namespace.
const ADDRESS: &str = "127.0.0.1:16443";
/// Nothing is encrypted, but a client wants a certificate.
pub(super) const CA: &str = include_str!("../../../oom-probe/tests/apiserver/ca.pem");
const PAUSE: Duration = Duration::from_millis(50);
/// More than an Event has.
const MAX_BODY: u64 = 1 << 20;

/// The server, ended on drop.
pub(super) struct ApiServer {
    shared: Arc<Shared>,
}

struct Shared {
    pods: Vec<Value>,
    events: Mutex<Vec<Value>>,
    over: AtomicBool,
}

/// A kubeconfig for it, beside whose file the certificate is.
pub(super) fn kubeconfig(ca: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("http://{ADDRESS}"), "certificate-authority": ca,
        }}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    })
}

impl ApiServer {
    /// Serves these pods in the network namespace of that process.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub(super) fn start(pid: &str, pods: Vec<Value>) -> Result<Self> {
        let namespace = File::open(format!("/proc/{pid}/ns/net")).context("open its network")?;
        let shared = Arc::new(Shared {
            pods,
            events: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let (tell, told) = mpsc::channel();
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            let listener = listen_in(&namespace);
            let listens = listener.as_ref().err().map(ToString::to_string);
            // Whoever started this thread waits for it.
            let _ = tell.send(listens);
            if let Ok(listener) = listener {
                serve(&listener, &served);
            }
        });
        let failed = told.recv().context("the server's thread ended")?;
        ensure!(failed.is_none(), "no API server: {failed:?}");
        Ok(Self { shared })
    }

    /// The Events that it took: the pod's name and the reason, in order of the names.
    pub(super) fn events(&self) -> Vec<(String, String)> {
        let events = self.shared.events.lock();
        let events = events.unwrap_or_else(PoisonError::into_inner);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = events.iter().map(|event| {
            (
                text(&event["involvedObject"]["name"]),
                text(&event["reason"]),
            )
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

/// For good: the thread ends in that namespace.
fn listen_in(network: &File) -> Result<TcpListener> {
    // SAFETY: setns(2) takes a descriptor that is open here and a flag; a network namespace concerns
    // this very thread alone.
    let entered = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
    ensure!(entered == 0, "{}", std::io::Error::last_os_error());
    let listener = TcpListener::bind(ADDRESS)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.over.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        let shared = Arc::clone(shared);
        // It fails where the other side goes, which is its end.
        thread::spawn(move || {
            stream
                .set_nonblocking(false)
                .and_then(|()| answer_all(&stream, &shared))
        });
    }
}

/// Answers one request after another, until the other side has gone.
fn answer_all(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = Vec::new();
        reader
            .by_ref()
            .take(length.min(MAX_BODY))
            .read_to_end(&mut body)?;
        answer(stream, &request, &body, shared)?;
    }
}

fn answer(stream: &TcpStream, request: &str, body: &[u8], shared: &Shared) -> std::io::Result<()> {
    let mut words = request.split_whitespace();
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match (method, path) {
        (Some("GET"), "/api/v1/pods") if query.contains("watch=") => watch(stream, shared),
        (Some("GET"), "/api/v1/pods") => {
            let version = json!({"resourceVersion": "1"});
            let list = json!({
                "kind": "PodList", "apiVersion": "v1", "metadata": version, "items": shared.pods,
            });
            json(stream, "200 OK", &list)
        }
        (Some("POST"), _) => {
            let event: Value = serde_json::from_slice(body).unwrap_or_default();
            let mut events = shared.events.lock().unwrap_or_else(PoisonError::into_inner);
            events.push(event.clone());
            drop(events);
            json(stream, "201 Created", &event)
        }
        _ => json(
            stream,
            "404 Not Found",
            &json!({"kind": "Status", "code": 404}),
        ),
    }
}

/// Nothing ever changes.
fn watch(mut stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    while !shared.over.load(Ordering::Relaxed) {
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn json(mut stream: &TcpStream, status: &str, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}
