//! Answers that a test asks for, and bodies that come piece by piece.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use hyper::{
    Response,
    body::{Body, Bytes, Frame},
};
use tokio::sync::{mpsc, watch};

use super::state::status;

/// What a call gets instead of what it asked for.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, with a body as the API server writes it.
    Status(u16),
    /// The same, asking to come back after so many seconds.
    RetryAfter(u16, u64),
    /// This body, with status 200.
    Body(Vec<u8>),
    /// The head of a response, this much of a body, and then the connection breaks.
    Broken(Vec<u8>),
    /// The head of a response, then nothing.
    Silent,
    /// Nothing at all.
    Hang,
    /// This start of a body, then this piece again and again, without end.
    Endless(Vec<u8>, Vec<u8>),
    /// What was asked for, once this is true.
    Held(watch::Receiver<bool>),
}

/// A body that is sent as it comes; without a sender it ends.
pub(crate) struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

pub(super) type Sender = mpsc::Sender<io::Result<Bytes>>;

impl Pieces {
    pub(super) fn channel() -> (Sender, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self(receiver))
    }

    pub(crate) fn whole(body: impl Into<Bytes>) -> Self {
        let (sender, pieces) = Self::channel();
        sender.try_send(Ok(body.into())).unwrap();
        pieces
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

pub(crate) fn respond(code: u16, body: impl Into<Bytes>) -> Response<Pieces> {
    let response = Response::builder().status(code);
    let response = response.header("content-type", "application/json");
    response.body(Pieces::whole(body)).unwrap()
}

impl Answer {
    /// The response; none where what was asked for is to follow. Counts the bytes of what has no end.
    pub(super) async fn response(self, endless: Arc<AtomicUsize>) -> Option<Response<Pieces>> {
        let message = "as the test wants it";
        match self {
            Self::Status(code) => Some(respond(code, status(code, message).to_string())),
            Self::RetryAfter(code, seconds) => {
                let mut response = respond(code, status(code, message).to_string());
                response
                    .headers_mut()
                    .insert("retry-after", seconds.to_string().parse().unwrap());
                Some(response)
            }
            Self::Body(body) => Some(respond(200, body)),
            Self::Broken(start) => {
                let (sender, pieces) = Pieces::channel();
                tokio::spawn(async move {
                    let broken = io::Error::other("as the test wants it");
                    // There is room for one piece: the second is taken when the first is on its way.
                    if sender.send(Ok(start.into())).await.is_ok() {
                        let _ = sender.send(Err(broken)).await;
                    }
                });
                Some(Response::new(pieces))
            }
            Self::Silent => {
                let (sender, pieces) = Pieces::channel();
                tokio::spawn(async move { sender.closed().await });
                Some(Response::new(pieces))
            }
            Self::Hang => std::future::pending().await,
            Self::Endless(start, piece) => {
                let (sender, pieces) = Pieces::channel();
                tokio::spawn(async move {
                    let piece = Bytes::from(piece);
                    let mut sent = sender.send(Ok(start.into())).await;
                    while sent.is_ok() {
                        sent = sender.send(Ok(piece.clone())).await;
                        endless.fetch_add(piece.len(), Ordering::Relaxed);
                    }
                });
                Some(Response::new(pieces))
            }
            Self::Held(mut released) => {
                // A test that is over releases it, too.
                let _ = released.wait_for(|released| *released).await;
                None
            }
        }
    }
}
