//! The end of a daemon that others hold on to: what is known is told all the same, in bounded time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Node, counted, until};
use crate::apiserver::{Answer, Call};
use crate::daemon::Daemon;
use crate::wait;
use crate::world::World;

/// A second each for the log and the Events, two for the state; all else is the machine's.
const BOUND: Duration = Duration::from_secs(60);

/// A connection that stays open, and an Event that is on its way.
pub(crate) fn connected(world: &World) -> String {
    for ends in [by_sigterm, by_lost_pins] {
        let node = Node::new(world);
        let daemon = node.start();
        until(&daemon, "the pod is known", || counted(&daemon) == Some(0));
        let _open = connection(&daemon);
        let (release, held) = watch::channel(false);
        node.server.script(Call::CreateEvent, [Answer::Held(held)]);
        node.ends();
        until(&daemon, "the Event is on its way", || {
            !node.server.requests(Call::CreateEvent).is_empty()
        });
        assert!(node.server.events().is_empty());
        let closed = when_closed(daemon.address(), release);
        let log = ends(&node, daemon);
        closed.join().unwrap();
        assert_eq!(node.server.events().len(), 1, "{log}");
    }
    "posted, by SIGTERM and without pins".to_owned()
}

/// Releases the answer once the daemon takes no connection any more: it is on its way out.
fn when_closed(address: SocketAddr, release: watch::Sender<bool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let is_closed = || TcpStream::connect(address).is_err();
        wait::until_so("it listens no more", is_closed, String::new);
        // The request is gone where the daemon has not waited for it.
        let _ = release.send(true);
    })
}

fn by_sigterm(_: &Node<'_>, daemon: Daemon) -> String {
    let (status, log) = daemon.stop();
    assert!(status.success(), "{log}");
    log
}

fn by_lost_pins(node: &Node<'_>, daemon: Daemon) -> String {
    std::fs::remove_file(node.bpffs.pin_dir().join("ledger")).unwrap();
    // It looks soon after a request.
    daemon.get("/metrics");
    let (status, log) = daemon.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    log
}

/// A connection that stays open, an API server that hangs, a reader of the log that has stopped.
pub(crate) fn held_up(world: &World) -> String {
    let node = Node::new(world);
    let (reader, writer) = io::pipe().unwrap();
    // Less than one line.
    // SAFETY: fcntl(2) with this command takes a number alone.
    let set = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    assert!(set > 0, "{}", io::Error::last_os_error());
    let daemon = Daemon::start_to(unpinned(&node), node.scratch.path(), writer.into()).unwrap();
    until(&daemon, "the pod is known", || counted(&daemon) == Some(0));
    let _open = connection(&daemon);
    node.server
        .script(Call::CreateEvent, vec![Answer::Hang; 100]);
    const KILLS: u64 = 8;
    for _ in 0..KILLS {
        node.ends();
    }
    until(&daemon, "all are told", || counted(&daemon) == Some(KILLS));
    until(&daemon, "an Event is on its way", || {
        !node.server.requests(Call::CreateEvent).is_empty()
    });
    let began = Instant::now();
    let (status, log) = daemon.stop();
    let took = began.elapsed();
    assert!(status.success(), "{log}");
    assert!(took < BOUND, "{took:?}: {log}");
    assert!(log.contains("1 Kubernetes Events are not sent"), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("stopped by SIGTERM"), "{log}");
    drop(reader);
    // What nobody took is kept all the same.
    let daemon = Daemon::start_as(unpinned(&node), node.scratch.path()).unwrap();
    assert_eq!(counted(&daemon), Some(KILLS), "{}", daemon.log());
    format!("ended after {} ms", took.as_millis())
}

fn unpinned(node: &Node<'_>) -> Command {
    let mut command = Command::new(&node.world.programs().oom_probe);
    command
        .args(["run", "--kubernetes", "on", "--node", super::NODE])
        .arg("--state-dir")
        .arg(&node.state)
        .env("KUBECONFIG", node.server.kubeconfig(node.scratch.path()));
    command
}

/// A scrape whose connection is kept for the next.
fn connection(daemon: &Daemon) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: n\r\n\r\n")
        .unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    stream
}
