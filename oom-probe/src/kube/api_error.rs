//! What an API server says when it does not do what it was asked for.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Response, StatusCode, header::RETRY_AFTER};
use kube::client::Body;
use serde::Deserialize;
use tokio::time::timeout;

use capture::sys::escape::escape;

/// Longer waits that a server asks for are not granted: some minutes without pods are bad enough.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);
/// Bytes of an error's body that are read for its message.
const MAX_MESSAGE_BODY: usize = 16 << 10;
/// Bytes of a message that are shown.
const MAX_MESSAGE: usize = 300;
/// How long the body of an error may take.
const MESSAGE_WITHIN: Duration = Duration::from_secs(2);

/// A response that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// What the server says, fit for one line; may be empty.
    pub(crate) message: String,
    /// How long it asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// A status with its message.
    pub(crate) fn new(status: StatusCode, message: &str) -> Self {
        Self {
            status,
            message: shown(message),
            retry_after: None,
        }
    }

    /// Reads a response, whose body may be anything.
    pub(crate) async fn read(response: Response<Body>) -> Self {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
        let message = timeout(MESSAGE_WITHIN, message(response.into_body()))
            .await
            .unwrap_or_default();
        Self {
            retry_after,
            ..Self::new(status, &message)
        }
    }
}

/// The innermost cause, which names the address and the system's own error.
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    // Sources that lead back to themselves must not hold the daemon up.
    for _ in 0..16 {
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    shown(&innermost.to_string())
}

/// What others wrote, fit for one line.
fn shown(text: &str) -> String {
    let mut end = text.len().min(MAX_MESSAGE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < text.len() { " …" } else { "" };
    escape(&text.as_bytes()[..end]) + more
}

/// `io.k8s.apimachinery.pkg.apis.meta.v1.Status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) message: String,
}

async fn message(mut body: Body) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { break };
        if bytes.len() + data.len() > MAX_MESSAGE_BODY {
            break;
        }
        bytes.extend_from_slice(&data);
    }
    serde_json::from_slice::<Status>(&bytes)
        .map(|status| status.message)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(status: u16, retry_after: Option<&str>, body: &str) -> Refusal {
        let mut response = Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header(RETRY_AFTER, value);
        }
        let body = Body::from(body.as_bytes().to_vec());
        Refusal::read(response.body(body).unwrap()).await
    }

    #[tokio::test]
    async fn the_message_is_that_of_the_status_object() {
        let status = r#"{"kind":"Status","code":403,"message":"no\nway"}"#;
        for (body, message) in [
            (status, "no\\nway"),
            ("<html>\n", ""),
            ("", ""),
            (r#"{"message":7}"#, ""),
        ] {
            assert_eq!(read(403, None, body).await.message, message, "{body}");
        }
    }

    #[tokio::test]
    async fn retry_after_is_kept_within_reason() {
        for (value, expected) in [
            (Some("7"), Some(7)),
            (Some(" 1 "), Some(1)),
            (Some("99999"), Some(120)),
            (Some("Fri, 31 Dec 1999 23:59:59 GMT"), None),
            (Some("-1"), None),
            (None, None),
        ] {
            let refusal = read(429, value, "").await;
            let seconds = refusal.retry_after.map(|wait| wait.as_secs());
            assert_eq!(seconds, expected, "{value:?}");
        }
    }

    #[tokio::test]
    async fn a_message_of_any_length_is_cut() {
        let long = format!(r#"{{"message":"{}"}}"#, "ä".repeat(2000));
        let message = read(500, None, &long).await.message;
        assert!(message.ends_with("ä …") && message.len() <= MAX_MESSAGE + 4);
        let huge = format!(r#"{{"message":"{}"}}"#, "x".repeat(1 << 20));
        assert_eq!(read(500, None, &huge).await.message, "");
    }
}
