//! `hog drill` in a cluster, against the scripted API server with a small shop behind it.

#[expect(
    dead_code,
    reason = "a whole API server, of which the drill uses a part"
)]
#[path = "../../../oom-probe/tests/apiserver/mod.rs"]
mod apiserver;
mod drills;
mod shop;
mod sockets;
#[path = "../stopped/mod.rs"]
mod stopped;
