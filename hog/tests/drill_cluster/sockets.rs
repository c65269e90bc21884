//! exec and port-forward, over WebSockets as the kubelet speaks them.
//!
//! kubernetes/staging/src/k8s.io/apimachinery/pkg/util/remotecommand: each message begins with the
//! number of its channel.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::Response;
use hyper::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::shop::{MIB, Shop};
use crate::apiserver::answer::Pieces;
use crate::apiserver::serve::Asked;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

const STDOUT: u8 = 1;
const STATUS: u8 = 3;
/// On it the client says which of its channels ends.
const CLOSE: u8 = 255;

/// Switches protocols, and goes on with `talk`.
fn switch<F>(mut asked: Asked, talk: impl FnOnce(Socket) -> F + Send + 'static) -> Response<Pieces>
where
    F: Future<Output = ()> + Send,
{
    let key = asked.headers()[SEC_WEBSOCKET_KEY].as_bytes().to_vec();
    let offered = asked.headers()[SEC_WEBSOCKET_PROTOCOL].to_str().unwrap();
    let protocol = offered.split(',').next().unwrap().trim().to_owned();
    let upgrade = hyper::upgrade::on(&mut asked);
    tokio::spawn(async move {
        // A client that has gone meanwhile gets no upgrade.
        if let Ok(upgraded) = upgrade.await {
            let io = TokioIo::new(upgraded);
            talk(WebSocketStream::from_raw_socket(io, Role::Server, None).await).await;
        }
    });
    Response::builder()
        .status(101)
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "Upgrade")
        .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(&key))
        .header(SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(Pieces::whole(""))
        .unwrap()
}

fn frame(channel: u8, data: &[u8]) -> Message {
    Message::Binary([&[channel], data].concat().into())
}

/// A shell in the container, as far as the drill's own scripts go.
pub(crate) async fn exec(shop: &Arc<Shop>, asked: Asked) -> Response<Pieces> {
    let query = asked.uri().query().unwrap_or_default().to_owned();
    let shop = Arc::clone(shop);
    let has = |word: &str| query.contains(word);
    if has("memory.oom.group") {
        let group = u8::from(shop.oom_group());
        let limit = shop.limit();
        let text = format!("version 2\nlimit {limit}\ngroup {group}\n");
        return switch(asked, move |socket| say(socket, text));
    }
    if has("awk") {
        shop.grow(true);
        return switch(asked, move |socket| eat(socket, shop));
    }
    assert!(has("memory.current"), "{query}");
    switch(asked, move |socket| measure(socket, shop))
}

async fn say(mut socket: Socket, text: String) {
    let _ = socket.send(frame(STDOUT, text.as_bytes())).await;
    end(socket).await;
}

async fn end(mut socket: Socket) {
    let _ = socket.send(frame(STATUS, br#"{"status":"Success"}"#)).await;
    let _ = socket.close(None).await;
}

async fn eat(mut socket: Socket, shop: Arc<Shop>) {
    loop {
        let line = match shop.killed() {
            None => format!("held {}\n", shop.taken()),
            Some(_) if shop.oom_group() => return,
            Some(_) => "ended 137\n".to_owned(),
        };
        let over = line.starts_with("ended");
        if socket.send(frame(STDOUT, line.as_bytes())).await.is_err() {
            return;
        }
        if over {
            return end(socket).await;
        }
        let told = tokio::time::timeout(Duration::from_millis(20), socket.next()).await;
        if let Ok(Some(Ok(Message::Binary(message)))) = told
            && message.first() == Some(&CLOSE)
        {
            return end(socket).await;
        }
    }
}

async fn measure(mut socket: Socket, shop: Arc<Shop>) {
    loop {
        let taken = if shop.killed().is_some() {
            0
        } else {
            shop.taken()
        };
        let line = format!("{}\n", (taken + 3) * MIB);
        if socket.send(frame(STDOUT, line.as_bytes())).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// oom-probe's port.
pub(crate) async fn forward(shop: &Arc<Shop>, asked: Asked) -> Response<Pieces> {
    let query = asked.uri().query().unwrap_or_default();
    assert!(query.contains("ports=9550"), "{query}");
    let shop = Arc::clone(shop);
    switch(asked, move |socket| serve_one(socket, shop))
}

/// One request and its answer.
async fn serve_one(mut socket: Socket, shop: Arc<Shop>) {
    for channel in [0, 1] {
        let _ = socket.send(frame(channel, &9550_u16.to_le_bytes())).await;
    }
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match socket.next().await {
            Some(Ok(Message::Binary(data))) => request.extend_from_slice(&data[1..]),
            Some(Ok(_)) => {}
            _ => return,
        }
    }
    let head = String::from_utf8(request).unwrap();
    let body = shop.probe(head.split(' ').nth(1).unwrap());
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
    let _ = socket.send(frame(0, answer.as_bytes())).await;
    // Open until the client hangs up.
    while let Some(Ok(_)) = socket.next().await {}
}
