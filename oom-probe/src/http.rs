//! The HTTP server: `/metrics`, `/healthz`, `/readyz` and the [`Api`].
//!
//! Everything a peer can make it hold is bounded: connections, the size and time of a request's
//! head, the time for taking a response, and how many large responses are on their way at once.

pub mod app;
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
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use app::{Api, ApiAccess, App, Probe, Status};
use connections::{Seat, Table};
use watched::Watched;

/// Bytes of a request's head, and of a connection's buffers.
const MAX_HEAD: usize = 16 * 1024;
/// Pause after an `accept` that failed, which for want of file descriptors it does again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
