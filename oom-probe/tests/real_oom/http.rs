//! HTTP as far as a test needs it: one GET over loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An emulated machine has been seen to leave a request unanswered for 10 s just after its start.
const TIMEOUT: Duration = Duration::from_secs(60);
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// The body of a 200 answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let body = get_with(address, path, &[])?;
    String::from_utf8(body).map_err(|error| format!("GET {path}: {error}"))
}

/// The same to a request with these headers, as it comes.
pub(crate) fn get_with(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Vec<u8>, String> {
    let answer = exchange(address, path, headers);
    let mut answer = answer.map_err(|error| format!("GET {path}: {error}"))?;
    let head = answer
        .windows(END_OF_HEAD.len())
        .position(|bytes| bytes == END_OF_HEAD)
        .ok_or_else(|| format!("GET {path}: no end of the head in {answer:?}"))?;
    let body = answer.split_off(head + END_OF_HEAD.len());
    let head = String::from_utf8_lossy(&answer);
    match head.split_whitespace().nth(1).unwrap_or_default() {
        "200" => Ok(body),
        status => Err(format!(
            "GET {path}: status {status}: {}",
            String::from_utf8_lossy(&body)
        )),
    }
}

/// HTTP/1.0, so that the answer ends with the connection and is not chunked.
fn exchange(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all(request.as_bytes())?;
    stream.write_all(b"\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
