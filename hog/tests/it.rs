//! Every integration test but the guard's: one program, so that the crate is linked once.

#[expect(
    dead_code,
    reason = "a whole API server, of which the drill uses a part"
)]
#[path = "../../oom-probe/tests/apiserver/mod.rs"]
mod apiserver;
mod command_line;
mod drill_cluster;
mod drill_local;
mod manifests;
mod real_kills;
mod scenarios;
mod stopped;
