//! Exporters beside the daemon.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../fixtures/expositions/", $name))
    };
}
pub(super) const KUBE_STATE_METRICS: &str = fixture!("kube-state-metrics.txt");
pub(super) const CADVISOR: &str = fixture!("cadvisor.txt");

/// Where it listens, for as long as this process lives.
pub(super) struct Exporter {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
}

impl Exporter {
    /// Serves what it is given for each scrape, on a free port of the loopback interface.
    pub(super) fn start(
        name: &'static str,
        exposition: impl Fn() -> String + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A scraper that went away is not this test's concern.
                let _ = answer(stream, &exposition());
            }
        });
        Self { name, address }
    }
}

fn answer(mut stream: TcpStream, exposition: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Ok(());
        }
        head.extend_from_slice(&part[..length]);
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{exposition}",
        exposition.len()
    )
}
