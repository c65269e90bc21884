//! A daemon of another build takes over.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;

use crate::world::World;
use capture::{
    accounting::reconciler,
    environment::{Facts, Sources},
    load::{self, Options},
    pin::PinDir,
    plan::plan,
};
use oom_probe_common::ABI_VERSION;

use super::{Daemons, Killing, balanced, each_once, some, wait_for_written};

/// Programs with a ring of another size are other programs, and both are attached for a moment.
pub(crate) fn another_build(world: &World) -> String {
    let mut daemons = Daemons::new(world);
    let first = daemons.start(&["--ring-size", "64K"]);
    let stop = AtomicBool::new(false);
    let (victims, second) = thread::scope(|scope| {
        let killing = Killing::start(scope, world, &stop);
        wait_for_written(&first, 3);
        let (status, log) = first.stop();
        assert!(status.success(), "{log}");
        let second = daemons.start(&["--ring-size", "128K"]);
        wait_for_written(&second, 5);
        (killing.stop(), second)
    });
    second.wait_for_log("replaced, without a gap");
    balanced(&second);
    each_once(&second.kills(None), &victims);
    drop(second);

    let third = daemons.start(&["--ring-size", "128K"]);
    assert!(third.log().contains("taking over"), "{}", third.log());
    let victims_of_third = some(world, 2);
    wait_for_written(&third, 2);
    balanced(&third);
    each_once(&third.stop_and_read().2, &victims_of_third);
    format!(
        "{} kills, each once",
        victims.len() + victims_of_third.len()
    )
}

/// This test plays the release before: its programs write records that the daemon cannot read.
pub(crate) fn another_version(world: &World) -> String {
    const KILLS: usize = 5;
    let mut daemons = Daemons::new(world);
    let before = play_other_release(&daemons.bpffs.pin_dir());
    some(world, KILLS);
    drop(before);
    let daemon = daemons.start(&[]);
    daemon.wait_for_log("replaced, without a gap");
    let metrics = daemon.metrics();
    let unknown = ["scope=\"unknown\"", "limit=\"unknown\""].map(str::to_owned);
    let counted = metrics.sum("oom_probe_kills_total", &unknown);
    let drained = metrics.value("oom_probe_drained_kills_total");
    // Others on this machine may have been killed too.
    assert!(
        counted >= KILLS as u64,
        "{counted} kills counted: {}",
        daemon.log()
    );
    assert_eq!(drained, counted);
    daemon.wait_for_log("counted without a record: version");
    assert!(daemon.written().is_empty());
    balanced(&daemon);
    let victims = some(world, 2);
    wait_for_written(&daemon, 2);
    balanced(&daemon);
    each_once(&daemon.stop_and_read().2, &victims);
    format!("{counted} kills of version {} counted", ABI_VERSION + 1)
}

fn play_other_release(pin_dir: &Path) -> load::Armed {
    let facts = Facts::gather(&Sources::default());
    let plan = plan(&facts);
    let options = Options {
        record_version: ABI_VERSION + 1,
        ..Options::default()
    };
    let dir = PinDir::open(pin_dir).unwrap();
    let vmstat = || reconciler::vmstat_oom_kills(Path::new("/proc"));
    let armed = load::arm(&facts, &plan, options, Some(dir), &vmstat).unwrap();
    assert!(armed.pins.is_some());
    armed
}
