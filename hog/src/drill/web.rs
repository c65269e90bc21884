//! One HTTP request over a connection of its own, bounded in time and size.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far above what a probe or a replica answers with.
const LARGEST_BODY: usize = 64 << 20;

/// The body of a successful answer from `authority` (`host:port`).
pub(crate) async fn ask(
    authority: &str,
    method: Method,
    path: &str,
    within: Duration,
) -> Result<Bytes> {
    let asked = async {
        let stream = TcpStream::connect(authority).await?;
        exchange(stream, authority, method, path).await
    };
    match timeout(within, asked).await {
        Ok(answer) => answer,
        Err(_) => bail!("no answer within {} s", within.as_secs_f32()),
    }
}

/// The body of a successful answer over a connection that is open.
pub(crate) async fn exchange<S>(stream: S, host: &str, method: Method, path: &str) -> Result<Bytes>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .body(Empty::<Bytes>::new())
        .context("cannot make the request")?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_BODY)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("cannot read the answer: {error}"))?
            .to_bytes();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body);
            let line = text.lines().next().unwrap_or_default().trim();
            bail!("status {status}: {line}");
        }
        Ok(body)
    };
    let answer = answer.await;
    // Nothing more is asked over it.
    driver.abort();
    answer
}
