//! Asks a daemon for kills.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::time::timeout;

use capture::{model::kill::Record, sys::escape::escape_again};

/// Time to connect, and for an answer beyond the time it was asked to wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any history: what else listens there shall not fill the memory.
const MAX_ANSWER: usize = 256 << 20;

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// `host:port`, for connecting.
    address: String,
    /// As it stands in the URL, for the Host header.
    authority: String,
    /// Path in front of the daemon's own, without the slash at its end.
    prefix: String,
}

/// A record, and the JSON in which it came.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) record: Record,
    pub(super) json: Box<RawValue>,
}

/// The daemon gave no answer, or not one that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(
        "no oom-probe answers at {address}: {cause}; is `oom-probe run` running there? --url names \
         another address"
    )]
    Unreachable { address: String, cause: String },
    #[error("the oom-probe at {address} refuses: {reason}")]
    Refused {
        address: String,
        reason: String,
        may_pass: bool,
    },
    #[error("what listens at {address} is no oom-probe (HTTP {code}); --url names another address")]
    Stranger { address: String, code: StatusCode },
    #[error(
        "the oom-probe at {address} sends records that this version cannot read ({cause}); use its \
         own `oom-probe kills`"
    )]
    Unreadable { address: String, cause: String },
}

impl ClientError {
    /// Whether the same request may be answered later.
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { may_pass, .. } => *may_pass,
            Self::Stranger { .. } | Self::Unreadable { .. } => false,
        }
    }
}

impl Daemon {
    /// Reads an `http://` URL.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err("it has to begin with http://".into());
        }
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("there is no user to log in as".into());
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => 80,
            None => return Err("its port is not a number up to 65535".into()),
        };
        if uri.query().is_some() {
            return Err("it must have no query: the flags make one".into());
        }
        Ok(Self {
            address: format!("{}:{port}", authority.host()),
            authority: authority.to_string(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The kills that `query` asks for, newest last. The daemon has been asked to hold back an
    /// empty answer for `wait`.
    pub(super) async fn kills(
        &self,
        query: &str,
        wait: Duration,
    ) -> Result<Vec<Item>, ClientError> {
        let answer = timeout(wait + PATIENCE, self.get(query));
        let (code, body) = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.unreachable(error.to_string())),
            Err(_) => return Err(self.unreachable(format!("no answer within {PATIENCE:?}"))),
        };
        if code == StatusCode::OK {
            self.read(&body)
        } else {
            Err(self.refusal(code, &body))
        }
    }

    async fn get(&self, query: &str) -> Result<(StatusCode, Bytes), BoxError> {
        let stream = timeout(PATIENCE, TcpStream::connect(&self.address)).await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(format!("{}/api/v1/kills?{query}", self.prefix))
            .header(HOST, &self.authority)
            .body(Empty::<Bytes>::new())?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let code = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER);
            Ok((code, body.collect().await?.to_bytes()))
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            answer = &mut exchange => answer,
            // What ends first is the connection where the peer closes it after its answer.
            _ = &mut connection => exchange.await,
        }
    }

    fn read(&self, body: &[u8]) -> Result<Vec<Item>, ClientError> {
        let unreadable = |error: serde_json::Error| ClientError::Unreadable {
            address: self.address.clone(),
            cause: escape_again(&error.to_string()),
        };
        let records: Vec<Box<RawValue>> =
            serde_json::from_slice(body).map_err(|_| ClientError::Stranger {
                address: self.address.clone(),
                code: StatusCode::OK,
            })?;
        let items = records.into_iter().map(|json| {
            let record = serde_json::from_str(json.get()).map_err(unreadable)?;
            Ok(Item { record, json })
        });
        items.collect()
    }

    fn refusal(&self, code: StatusCode, body: &[u8]) -> ClientError {
        #[derive(serde::Deserialize)]
        struct Refusal {
            error: String,
        }
        let address = self.address.clone();
        match serde_json::from_slice(body) {
            Ok(Refusal { error }) => ClientError::Refused {
                address,
                reason: escape_again(&error),
                may_pass: code.is_server_error(),
            },
            Err(_) => ClientError::Stranger { address, code },
        }
    }

    fn unreachable(&self, cause: String) -> ClientError {
        ClientError::Unreachable {
            address: self.address.clone(),
            cause,
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (url, address, prefix) in [
            ("http://127.0.0.1:9550", "127.0.0.1:9550", ""),
            ("http://127.0.0.1:9550/", "127.0.0.1:9550", ""),
            ("http://[::1]:9550", "[::1]:9550", ""),
            ("http://node-1", "node-1:80", ""),
            (
                "http://localhost:8001/a/proxy/",
                "localhost:8001",
                "/a/proxy",
            ),
        ] {
            let daemon = Daemon::parse(url).unwrap();
            assert_eq!(
                (&*daemon.address, &*daemon.prefix),
                (address, prefix),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_url_of_a_daemon_is_refused() {
        for url in [
            "",
            "127.0.0.1:9550",
            "https://127.0.0.1:9550",
            "http://",
            "http://user@127.0.0.1:9550",
            "http://127.0.0.1:9550/?since=1h",
            "http://127.0.0.1:95500",
        ] {
            assert!(Daemon::parse(url).is_err(), "{url}");
        }
    }
}
