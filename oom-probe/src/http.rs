//! The HTTP server: `/metrics`, `/healthz`, `/readyz` and the [`Api`].
//!
//! Everything a peer can make it hold is bounded: connections, the size and time of a request's
//! head, the time for taking a response, and how many large responses are on their way at once.

mod body;
mod connections;
pub mod exposition;
pub mod kills;
pub mod negotiate;
mod routes;
#[cfg(test)]
mod served;
mod watched;

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::sinks::history::History;
use connections::{Seat, Table};
use watched::Watched;

/// Bytes of a request's head, and of a connection's buffers.
const MAX_HEAD: usize = 16 * 1024;
/// Pause after an `accept` that failed, which for want of file descriptors it does again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the server serves.
pub struct App {
    /// What `/metrics` shows; other collectors may have been registered in it.
    pub registry: Registry,
    /// What is below `/api/v1/`.
    pub api: Api,
    /// Who may read `/api/`.
    pub api_access: ApiAccess,
    /// The daemon behind it.
    pub probe: Box<dyn Probe>,
}

/// What a daemon shows below `/api/v1/`.
pub enum Api {
    /// `/api/v1/kills`: the last kills.
    Kills(Arc<History>),
    /// `/api/v1/oom-group`: one JSON object, made for each request.
    OomGroup(Box<dyn Fn() -> String + Send + Sync>),
}

/// The daemon, as far as the server needs it.
pub trait Probe: Send + Sync {
    /// Brings history and metrics up to date: drains the ring, reads what the kernel counts. Called
    /// before each scrape and each read of the API, on the runtime's thread.
    fn refresh(&self);

    /// Waits until a restart would not undo what [`Self::refresh`] brought; never for long.
    fn written(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(ready(()))
    }

    /// The metrics have been scraped.
    fn scraped(&self) {}

    /// How it is; must be cheap and must not depend on what [`Self::refresh`] does.
    fn status(&self) -> Status;
}

/// What `/healthz` and `/readyz` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Why the reader of the ring counts as stuck.
    pub stuck: Option<String>,
    /// More lines for the body of `/readyz`: `("kubernetes", "synced, 31 pods")`.
    pub details: Vec<(&'static str, String)>,
}

/// Who may read `/api/`: other tenants' names are not for every pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiAccess {
    /// Peers on this host, `kubectl exec` and `kubectl port-forward` among them.
    Loopback,
    /// Everybody who reaches the port (`--api-remote`).
    Everyone,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}; {}", remedy(cause))]
pub struct BindError {
    address: SocketAddr,
    // Not a source: the one line says it already.
    cause: io::Error,
}

/// Opens the listening socket. Where the kernel has no IPv6, `[::]` stands for `0.0.0.0`.
///
/// # Errors
/// One line that names the address, the cause and what to try.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listener = match TcpListener::bind(address).await {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && lacks_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    };
    listener.map_err(|cause| BindError { address, cause })
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop what listens there (`ss -ltnp` shows it) or choose another address with --listen"
        }
        io::ErrorKind::PermissionDenied => "choose a port above 1023 with --listen",
        io::ErrorKind::AddrNotAvailable => "choose an address of this host with --listen",
        _ => "choose another address with --listen",
    }
}

/// Serves until the future is dropped, which closes every connection.
pub async fn serve(listener: TcpListener, app: Arc<App>) -> Infallible {
    let table = Arc::new(Table::new());
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let seat = Table::admit(&table);
                    tasks.spawn(connection(stream, peer, Arc::clone(&app), seat));
                }
                Err(error) => {
                    tracing::debug!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, app: Arc<App>, seat: Seat) {
    // Answers are written whole: waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    exchange(stream, peer.ip(), app, seat).await;
}

/// Serves one peer on any stream, to its end.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) async fn serve_stream<S>(stream: S, peer: IpAddr, app: Arc<App>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let seat = Table::admit(&Arc::new(Table::new()));
    exchange(stream, peer, app, seat).await;
}

async fn exchange<S>(stream: S, peer: IpAddr, app: Arc<App>, seat: Seat)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let seat = Arc::new(seat);
    let service = service_fn(|request| {
        let (app, seat) = (Arc::clone(&app), Arc::clone(&seat));
        async move { Ok::<_, Infallible>(routes::answer(&app, &seat, peer, &request).await) }
    });
    let serving = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        // The phases of the connection have their own times: see `connections`.
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(Watched::new(stream, Arc::clone(&seat))),
            service,
        );
    tokio::select! {
        // However it ends, the peer knows as much as we do.
        _ = serving => {}
        () = seat.expired() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_what_to_do() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let message = bind(address).await.unwrap_err().to_string();
        assert!(
            message.starts_with(&format!(
                "cannot listen on {address}: Address already in use"
            )),
            "{message}"
        );
        assert!(message.ends_with("with --listen"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[tokio::test]
    async fn an_address_of_another_host_is_refused() {
        // TEST-NET-1 of RFC 5737: no host has it.
        let error = bind("192.0.2.1:9550".parse().unwrap()).await.unwrap_err();
        assert!(
            error.to_string().contains("an address of this host"),
            "{error}"
        );
    }
}
