//! Response bodies that are handed over piece by piece.

use std::convert::Infallible;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::connections::Seat;

/// How much of a body is handed to the connection at once.
const PIECE: usize = 16 * 1024;

/// A body whose size is known. Its end, however it comes, is told to the connection's seat.
pub(super) struct Body {
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
    left: u64,
    seat: Option<Arc<Seat>>,
}

impl Body {
    /// The bytes as they are.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        Self {
            left: bytes.len() as u64,
            pieces: Box::new(
                (0..bytes.len())
                    .step_by(PIECE)
                    .map(move |start| bytes.slice(start..bytes.len().min(start + PIECE))),
            ),
            seat: None,
        }
    }

    /// A JSON array with an element per line. Nothing is copied.
    pub(super) fn json_array(elements: Vec<Bytes>) -> Self {
        if elements.is_empty() {
            return Self::whole("[]\n");
        }
        let around = elements.len() * ",\n".len() + "[]\n".len() - ",\n".len();
        let inside: usize = elements.iter().map(Bytes::len).sum();
        let pieces = elements
            .into_iter()
            .enumerate()
            .flat_map(|(index, element)| {
                let before = if index == 0 { "[" } else { ",\n" };
                [Bytes::from_static(before.as_bytes()), element]
            })
            .chain(iter::once(Bytes::from_static(b"]\n")));
        Self {
            left: (around + inside) as u64,
            pieces: Box::new(pieces),
            seat: None,
        }
    }

    /// Tells `seat` when the body ends.
    pub(super) fn told_to(mut self, seat: &Arc<Seat>) -> Self {
        self.seat = Some(Arc::clone(seat));
        self
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.next();
        if let Some(piece) = &piece {
            self.left -= piece.len() as u64;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(seat) = &self.seat {
            seat.handed_over();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Body as _;

    use super::*;

    async fn collect(body: Body) -> String {
        let announced = body.size_hint().exact().unwrap();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, announced);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_array_has_an_element_per_line() {
        let elements =
            |elements: &[&'static str]| elements.iter().map(|e| Bytes::from(*e)).collect();
        for (given, expected) in [
            (&[][..], "[]\n"),
            (&["1"][..], "[1]\n"),
            (&["1", "22", "3"][..], "[1,\n22,\n3]\n"),
        ] {
            assert_eq!(collect(Body::json_array(elements(given))).await, expected);
        }
    }

    #[tokio::test]
    async fn a_large_body_comes_in_pieces_and_whole() {
        let text = "0123456789".repeat(PIECE);
        assert_eq!(collect(Body::whole(text.clone())).await, text);
        assert_eq!(Body::whole(text).pieces.by_ref().count(), 10);
        assert_eq!(collect(Body::whole("")).await, "");
    }
}
