//! What the kernel programs say themselves. Only a build with `ebpf-log` has their words: the one that
//! cargo makes beside this test, which nothing else here runs.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::LIMIT;
use crate::case::Case;
use crate::daemon::Daemon;
use crate::harness::skipped;
use crate::world::{Running, World};

const BEFORE_EACH: &str = "kernel programs: ";

/// One kill from its signal to its mark, at the level at which they speak and at the usual one.
pub(crate) fn messages(world: &World) -> String {
    if !cfg!(feature = "ebpf-log") {
        return skipped("compiled without the feature ebpf-log");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_oom-probe"));
    let [talking, quiet] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let flags = ["--log-level", "debug"];
    let talking = Daemon::start(program, talking.path(), &flags).unwrap();
    let quiet = Daemon::start(program, quiet.path(), &[]).unwrap();

    let mut case = Case::begin(world);
    let cgroup = world.limited("messages", LIMIT);
    let hog = world.hog(&["grow", "--interval", "0"]);
    Running::start(&cgroup, hog).end().killed();
    case.kills(1);

    let deadline = Instant::now() + Duration::from_secs(5);
    let expected = ["signal_generate: SIGKILL", "mark_victim: "];
    let hears = |log: &str| {
        let said = |words: &str| log.contains(&format!("{BEFORE_EACH}{words}"));
        expected.iter().all(|words| said(words))
    };
    while !hears(&talking.log()) {
        assert!(Instant::now() < deadline, "{}", talking.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(!quiet.log().contains(BEFORE_EACH), "{}", quiet.log());
    "in the log at level debug, and at no other".to_owned()
}
