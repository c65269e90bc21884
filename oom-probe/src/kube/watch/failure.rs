//! What an API server can do wrong, as one line each, and how long to leave it alone.

use std::time::Duration;

use hyper::StatusCode;

use super::split::Malformed;
use crate::kube::api_error::Refusal;

/// Why there is no list or no watch.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot reach the API server: {0}")]
    Unreachable(String),
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error(
        "the API server does not accept the service account's token (401{0}); it is read anew every minute"
    )]
    Unauthorized(String),
    #[error(
        "the API server refuses (403{0}); the daemon's role must allow list and watch on pods in all namespaces"
    )]
    Forbidden(String),
    #[error("the API server refuses (403{0}), as it may for some seconds after its own start")]
    NotYetAllowed(String),
    #[error("the API server answers {status}{message}")]
    Status {
        status: u16,
        message: String,
        retry_after: Option<Duration>,
    },
    #[error("the API server sends what is no answer: {0}")]
    Garbage(String),
    #[error("the API server ends each watch at once")]
    ShortWatch,
    #[error("the API server cannot say what changed since the last list (410)")]
    Expired,
}

impl Failure {
    /// How long the server asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether changes may have been missed, so that only a new list helps.
    pub(super) fn needs_list(&self) -> bool {
        matches!(self, Self::Garbage(_) | Self::Expired)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = match refusal.message {
            message if message.is_empty() => message,
            message => format!(": {message}"),
        };
        match refusal.status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized(message),
            StatusCode::FORBIDDEN => Self::Forbidden(message),
            StatusCode::GONE => Self::Expired,
            status => Self::Status {
                status: status.as_u16(),
                message,
                retry_after: refusal.retry_after,
            },
        }
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Garbage(malformed.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_becomes_one_line_that_says_what_to_do() {
        for (status, message, expected) in [
            (
                401,
                "",
                "the API server does not accept the service account's token (401); it is read anew every minute",
            ),
            (
                403,
                "pods is forbidden: User \"x\" cannot list",
                "the API server refuses (403: pods is forbidden: User \"x\" cannot list); the daemon's role must allow list and watch on pods in all namespaces",
            ),
            (500, "", "the API server answers 500"),
            (
                503,
                "a\nb\u{1b}[2J",
                "the API server answers 503: a\\nb\\x1b[2J",
            ),
            (
                410,
                "too old",
                "the API server cannot say what changed since the last list (410)",
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = Failure::from(Refusal::new(status, message));
            assert_eq!(failure.to_string(), expected);
        }
    }
}
