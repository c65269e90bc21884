//! The parameters of `/api/v1/kills`, and waiting for the next kill.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use tokio::time::timeout_at;

use super::app::App;
use crate::sinks::history::{History, Query};

/// The longest wait for a kill; a longer one is cut to it.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// A request for kills.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KillsRequest {
    pub(super) query: Query,
    /// How long to wait while there is nothing to answer with.
    pub(super) wait: Option<Duration>,
}

/// A parameter is not what it has to be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadParameter {
    #[error("unknown parameter {0:?}: known are since, limit, after and wait")]
    Unknown(String),
    #[error("{name}={value:?} is not {expected}")]
    Value {
        name: &'static str,
        value: String,
        expected: &'static str,
    },
}

/// Reads the query part of a URI.
pub(super) fn parse(query: Option<&str>, now: Timestamp) -> Result<KillsRequest, BadParameter> {
    let mut request = KillsRequest::default();
    let query = query.unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let bad = |name, expected| BadParameter::Value {
            name,
            value: value.clone().into_owned(),
            expected,
        };
        match &*name {
            "since" => {
                let since = parse_since(&value, now).ok_or_else(|| bad("since", SINCE))?;
                request.query.since = Some(since);
            }
            "limit" => {
                let limit = value.parse().map_err(|_| bad("limit", "a whole number"))?;
                request.query.limit = Some(limit);
            }
            "after" => request.query.after = Some(value.into_owned()),
            "wait" => {
                let wait = parse_duration(&value)
                    .ok_or_else(|| bad("wait", "a duration such as 30s"))?
                    .unsigned_abs();
                request.wait = Some(wait.min(MAX_WAIT));
            }
            _ => return Err(BadParameter::Unknown(name.into_owned())),
        }
    }
    Ok(request)
}

/// What [`parse_since`] takes, for messages.
pub(crate) const SINCE: &str =
    "a duration such as 90m or an RFC 3339 time such as 2025-11-20T12:00:00Z";

/// A moment, or how long ago it was.
pub(crate) fn parse_since(value: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(duration) = parse_duration(value) {
        return now.checked_sub(duration).ok();
    }
    // In a query a plus sign that was not escaped is a space.
    value.replace(' ', "+").parse().ok()
}

/// `90m`, `1h 30m`, `2d`: not negative, and nothing longer than a week, whose length would depend
/// on the calendar.
fn parse_duration(value: &str) -> Option<SignedDuration> {
    let span: Span = value.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    (!duration.is_negative()).then_some(duration)
}

/// The kills that are asked for; waits for the first where the request says so.
pub(super) async fn answer(app: &App, history: &History, request: &KillsRequest) -> Vec<Bytes> {
    let deadline = tokio::time::Instant::now() + request.wait.unwrap_or_default();
    app.probe.refresh();
    let mut pushed = history.subscribe();
    loop {
        let found = history.select(&request.query);
        if !found.is_empty() || request.wait.is_none() {
            app.probe.written().await;
            return found;
        }
        match timeout_at(deadline, pushed.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2025-11-20T12:00:00Z";

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn each_parameter_is_read() {
        for (query, expected) in [
            (None, KillsRequest::default()),
            (Some(""), KillsRequest::default()),
            (
                Some("limit=10&after=3b8a-1-2-3&wait=30s&since=1h"),
                KillsRequest {
                    query: Query {
                        since: Some(at("2025-11-20T11:00:00Z")),
                        after: Some("3b8a-1-2-3".into()),
                        limit: Some(10),
                    },
                    wait: Some(Duration::from_secs(30)),
                },
            ),
            (
                Some("wait=1h"),
                KillsRequest {
                    wait: Some(MAX_WAIT),
                    ..KillsRequest::default()
                },
            ),
        ] {
            assert_eq!(parse(query, at(NOW)), Ok(expected), "{query:?}");
        }
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (query, message) in [
            ("limits=3", r#"unknown parameter "limits""#),
            ("limit=-1", r#"limit="-1" is not a whole number"#),
            ("limit=", r#"limit="" is not a whole number"#),
            ("since=yesterday", r#"since="yesterday" is not a duration"#),
            ("since=-1h", r#"since="-1h" is not a duration"#),
            ("since=99999999d", r#"since="99999999d" is not a duration"#),
            ("wait=soon", r#"wait="soon" is not a duration"#),
            ("wait=-5s", r#"wait="-5s" is not a duration"#),
        ] {
            let error = parse(Some(query), at(NOW)).unwrap_err().to_string();
            assert!(error.starts_with(message), "{query}: {error}");
        }
    }

    #[test]
    fn since_is_a_moment_or_how_long_ago_it_was() {
        for (value, expected) in [
            ("0s", Some("2025-11-20T12:00:00Z")),
            ("90m", Some("2025-11-20T10:30:00Z")),
            ("1h30m", Some("2025-11-20T10:30:00Z")),
            ("1h 30m", Some("2025-11-20T10:30:00Z")),
            ("2d", Some("2025-11-18T12:00:00Z")),
            ("2025-11-20T11:22:33.5Z", Some("2025-11-20T11:22:33.5Z")),
            ("2025-11-20T11:00:00+02:00", Some("2025-11-20T09:00:00Z")),
            ("2025-11-20T11:00:00 02:00", Some("2025-11-20T09:00:00Z")),
            ("1 month", None),
            ("12:00", None),
            ("", None),
        ] {
            assert_eq!(parse_since(value, at(NOW)), expected.map(at), "{value}");
        }
    }
}
