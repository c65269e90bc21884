//! `hog serve`: a service that can be asked to outgrow its limit.
//!
//! One thread, so that a request that comes while memory is taken waits for a step and no longer.

mod replica;
mod routes;
mod status;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use hog::units::{parse_duration, parse_nonzero_size};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::say::say;
use replica::Replica;
pub(crate) use status::Status;

/// For the head of a request; a client that takes longer is hung up on.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// After an accept that failed, which for want of memory or files it does again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "HOG_LISTEN",
        default_value = "[::]:8080"
    )]
    listen: SocketAddr,

    /// Memory per step of an allocation
    #[arg(
        long, value_name = "SIZE", env = "HOG_STEP", default_value = "1M",
        value_parser = parse_nonzero_size
    )]
    step: u64,

    /// Time between its steps
    #[arg(
        long, value_name = "DURATION", env = "HOG_INTERVAL", default_value = "50ms",
        value_parser = parse_duration
    )]
    interval: Duration,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT.
    pub(crate) fn run(&self) -> Result<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .context("cannot start the runtime")?
            .block_on(self.serve())
    }

    async fn serve(&self) -> Result<u8> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let listener = listen(self.listen).await?;
        let replica = Arc::new(Replica::new(self.step, self.interval));
        say!("hog: serving on http://{}", listener.local_addr()?);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tokio::spawn(connection(stream, Arc::clone(&replica)));
                    }
                    Err(error) => {
                        eprintln!("hog: cannot accept a connection: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        say!("hog: told to stop");
        Ok(0)
    }
}

/// Where the kernel has no IPv6, `[::]` stands for `0.0.0.0`.
async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = match TcpListener::bind(address).await {
        Err(error)
            if address.ip().is_unspecified()
                && matches!(
                    error.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                ) =>
        {
            TcpListener::bind(("0.0.0.0", address.port())).await
        }
        other => other,
    };
    listener.with_context(|| format!("cannot listen on {address}; choose another --listen"))
}

async fn connection(stream: TcpStream, replica: Arc<Replica>) {
    let service = service_fn(move |request| {
        let replica = Arc::clone(&replica);
        async move { Ok::<_, Infallible>(routes::answer(&request, &replica)) }
    });
    // A client that hangs up is no failure of the service.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
