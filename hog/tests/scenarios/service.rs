//! The service, over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

use hog::cgroup::{Hierarchy, Version};

use super::{PATIENCE, Running, is_killed, stage};

fn request(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: hog\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    // A service that is killed meanwhile answers nothing.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn service_grows_when_it_is_asked_to_and_gives_back() {
    let Some(stage) = stage("service") else {
        return;
    };
    let environment = [("HOG_LISTEN", "127.0.0.1:0"), ("HOG_INTERVAL", "2ms")];
    let mut replica = Running::start(&stage, 0, &environment);
    let said = replica.line("serving on");
    let address = said.rsplit('/').next().unwrap();
    assert!(request(address, "GET", "/readyz").starts_with("HTTP/1.1 200"));
    assert!(request(address, "GET", "/allocate?mb=1").starts_with("HTTP/1.1 405"));
    assert!(request(address, "POST", "/allocate").starts_with("HTTP/1.1 400"));
    assert!(request(address, "GET", "/elsewhere").starts_with("HTTP/1.1 404"));

    assert!(request(address, "POST", "/allocate?mb=20").starts_with("HTTP/1.1 202"));
    replica.line("holding 20 MiB");
    let status = request(address, "GET", "/status");
    assert!(status.contains("\"held_bytes\":20971520"), "{status}");
    assert!(status.contains("\"limit_bytes\":134217728"), "{status}");
    let version = match Hierarchy::detect().unwrap().version {
        Version::V1 => 1,
        Version::V2 => 2,
    };
    assert!(
        status.contains(&format!("\"cgroup_version\":{version}")),
        "{status}"
    );
    assert!(request(address, "POST", "/free").contains("gave back 20 MiB"));
    assert!(stage.container(0).1.usage().unwrap() < 20 << 20);

    assert!(request(address, "POST", "/allocate?mb=200").starts_with("HTTP/1.1 202"));
    is_killed(replica.end());
    assert_eq!(stage.oom_kill_count().unwrap(), 1);
}
