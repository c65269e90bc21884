//! What the kernel programs say themselves. Only a build with `ebpf-log` has their words: the one that
//! cargo makes beside this test, which nothing else here runs.

use std::path::Path;

use super::LIMIT;
use super::overload::{herd, smallest_ring};
use crate::case::Case;
use crate::daemon::Daemon;
use crate::harness::skipped;
use crate::world::{Running, World};

const BEFORE_EACH: &str = "kernel programs: ";

/// Kills whose records no smallest ring holds.
const MORE_THAN_FIT: u64 = 60;

/// One kill from its signal to its mark, at the level at which they speak and at the usual one, where
/// they warn of a full ring and say nothing else.
pub(crate) fn messages(world: &World) -> String {
    if !cfg!(feature = "ebpf-log") {
        return skipped("compiled without the feature ebpf-log");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_oom-probe"));
    let [talking, quiet, stuck] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let flags = ["--log-level", "debug"];
    let talking = Daemon::start(program, talking.path(), &flags).unwrap();
    let quiet = Daemon::start(program, quiet.path(), &[]).unwrap();

    let mut case = Case::begin(world);
    let cgroup = world.limited("messages", LIMIT);
    let hog = world.hog(&["grow", "--interval", "0"]);
    Running::start(&cgroup, hog).end().killed();
    case.kills(1);
    for message in ["signal_generate: SIGKILL", "mark_victim: "] {
        talking.wait_for_log(&format!("{BEFORE_EACH}{message}"));
    }
    let (_, said) = quiet.stop();
    assert!(!said.contains(BEFORE_EACH), "{said}");

    let ring = ["--ring-size", &smallest_ring()];
    let stuck = Daemon::start(program, stuck.path(), &ring).unwrap();
    stuck.freeze(true);
    herd(world, MORE_THAN_FIT);
    stuck.freeze(false);
    stuck.wait_for_log(&format!("{BEFORE_EACH}the ring is full"));
    "in the log at level debug, a full ring at the usual one too".to_owned()
}
