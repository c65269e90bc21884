//! HTTP: routes, lists in pieces, watches.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt, Collected};
use hyper::{Method, Response, body::Incoming, header::AUTHORIZATION, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    Control,
    answer::{Pieces, Sender, respond},
    state::{Call, Request, State, status},
};

/// Bytes of a list that are sent at once.
const PIECE: usize = 16 << 10;

type Shared = Arc<Mutex<State>>;

/// A request that this server has no answer for.
pub(crate) type Asked = hyper::Request<Incoming>;
type Answering = Pin<Box<dyn Future<Output = Response<Pieces>> + Send>>;
/// Who answers it instead.
pub(crate) type Also = Arc<dyn Fn(Asked) -> Answering + Send + Sync>;

pub(super) async fn serve(
    listener: std::net::TcpListener,
    state: Shared,
    mut control: watch::Receiver<Control>,
    also: Option<Also>,
) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(TcpListener::from_std(listener).unwrap());
    let mut connections = JoinSet::new();
    loop {
        let now = *control.borrow_and_update();
        if now.stopped {
            return;
        }
        match (now.reachable, &listener) {
            (true, None) => listener = Some(rebind(address).await),
            (false, Some(_)) => {
                listener = None;
                connections.shutdown().await;
            }
            _ => {}
        }
        tokio::select! {
            changed = control.changed() => if changed.is_err() { return },
            accepted = accept(listener.as_ref()) => {
                let also = also.clone();
                connections.spawn(connection(accepted, state.clone(), control.clone(), also));
            }
        }
    }
}

/// The port is this server's alone, but a connection may linger on it for a moment.
async fn rebind(address: SocketAddr) -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        tokio::task::yield_now().await;
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.unwrap().0,
        None => std::future::pending().await,
    }
}

async fn connection(
    stream: TcpStream,
    state: Shared,
    control: watch::Receiver<Control>,
    also: Option<Also>,
) {
    let service = service_fn(move |request| {
        let (state, control, also) = (state.clone(), control.clone(), also.clone());
        async move { Ok::<_, Infallible>(answer(request, state, control, also).await) }
    });
    // A client that goes away is none of the server's business.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    state: Shared,
    control: watch::Receiver<Control>,
    also: Option<Also>,
) -> Response<Pieces> {
    let query = query(request.uri().query().unwrap_or_default());
    let path = request.uri().path().to_owned();
    let namespace = path
        .strip_prefix("/api/v1/namespaces/")
        .and_then(|rest| rest.strip_suffix("/events"))
        .map(str::to_owned);
    let call = match (request.method(), &*path, &namespace) {
        (&Method::GET, "/api/v1/pods", _) if query.get("watch").is_some_and(|at| at == "true") => {
            Call::Watch
        }
        (&Method::GET, "/api/v1/pods", _) => Call::List,
        (&Method::POST, _, Some(_)) => Call::CreateEvent,
        _ => Call::Other,
    };
    let header = request.headers().get(AUTHORIZATION);
    let seen = Request {
        call,
        path,
        query: query.clone(),
        token: header
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
    };
    let (scripted, endless) = {
        let mut state = state.lock().unwrap();
        state.requests.push(seen);
        (state.scripted(call), state.endless.clone())
    };
    if let Some(scripted) = scripted
        && let Some(response) = scripted.response(endless).await
    {
        return response;
    }
    let node = query
        .get("fieldSelector")
        .and_then(|selector| selector.strip_prefix("spec.nodeName="));
    match (call, node) {
        (Call::List, Some(node)) => in_pieces(state.lock().unwrap().list(node)),
        (Call::Watch, Some(node)) => {
            let since = query
                .get("resourceVersion")
                .and_then(|version| version.parse().ok());
            watch_pods(node.to_owned(), since.unwrap_or(0), state, control)
        }
        (Call::CreateEvent, _) => {
            let body = request.into_body().collect().await;
            let body = body.map(Collected::to_bytes).unwrap_or_default();
            let event: Value = serde_json::from_slice(&body).unwrap();
            let namespace = namespace.unwrap_or_default();
            let (code, object) = state.lock().unwrap().create_event(&namespace, event);
            respond(code, object.to_string())
        }
        _ => match also {
            Some(also) => also(request).await,
            None => respond(403, status(403, "the role does not allow that").to_string()),
        },
    }
}

fn in_pieces(body: String) -> Response<Pieces> {
    let (sender, pieces) = Pieces::channel();
    tokio::spawn(async move {
        for piece in body.into_bytes().chunks(PIECE) {
            if sender.send(Ok(piece.to_vec().into())).await.is_err() {
                return;
            }
        }
    });
    Response::new(pieces)
}

fn watch_pods(
    node: String,
    since: u64,
    state: Shared,
    control: watch::Receiver<Control>,
) -> Response<Pieces> {
    if state.lock().unwrap().changes(&node, since).is_err() {
        return respond(410, status(410, "too old resource version").to_string());
    }
    let (sender, pieces) = Pieces::channel();
    tokio::spawn(tell_changes(node, since, state, control, sender));
    Response::new(pieces)
}

async fn tell_changes(
    node: String,
    mut since: u64,
    state: Shared,
    mut control: watch::Receiver<Control>,
    sender: Sender,
) {
    let closings = control.borrow().closings;
    loop {
        let now = *control.borrow_and_update();
        if now.stopped {
            return;
        }
        if !now.stalled {
            let changes = state.lock().unwrap().changes(&node, since);
            let (lines, ended) = match changes {
                Ok((lines, last)) => {
                    since = last;
                    (lines, false)
                }
                Err(()) => {
                    let object = status(410, "too old resource version");
                    let error = serde_json::json!({"type": "ERROR", "object": object});
                    (vec![format!("{error}\n")], true)
                }
            };
            for line in lines {
                if sender.send(Ok(line.into())).await.is_err() {
                    return;
                }
            }
            if ended {
                return;
            }
        }
        if now.closings != closings {
            return;
        }
        tokio::select! {
            changed = control.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
    }
}

fn query(text: &str) -> HashMap<String, String> {
    form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}
