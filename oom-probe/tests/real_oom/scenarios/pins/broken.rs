//! Pins that are not as a daemon left them.

use std::fs;
use std::path::PathBuf;

use aya::maps::{Array, HashMap, MapData};

use super::{Daemons, balanced, each_once, some, wait_for_written};
use crate::daemon::Daemon;
use crate::world::World;

/// The one directory with links and a ring.
fn generation(daemons: &Daemons<'_>) -> PathBuf {
    let entries = fs::read_dir(daemons.bpffs.pin_dir()).unwrap();
    let mut directories = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir());
    let path = directories.next().unwrap().path();
    assert!(directories.next().is_none(), "more than one");
    path
}

/// It captures, and its books balance.
fn works(world: &World, daemon: Daemon) {
    let victims = some(world, 2);
    wait_for_written(&daemon, 2);
    balanced(&daemon);
    each_once(&daemon.stop_and_read().2, &victims);
}

/// The ring is there and nobody writes to it: without a look at the links that would be silence
/// for ever.
pub(crate) fn hook_gone(world: &World) -> String {
    let mut daemons = Daemons::new(world);
    let first = daemons.start(&[]);
    drop(first);
    let victims = some(world, 1);
    let generation = generation(&daemons);
    let hook = fs::read_dir(&generation)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.starts_with("mark_"))
        .unwrap();
    fs::remove_file(generation.join(&hook)).unwrap();
    some(world, 1);
    let second = daemons.start(&[]);
    let log = second.log();
    assert!(
        log.contains("does not record any more: the hook mark_"),
        "{log}"
    );
    assert!(log.contains("arming anew"), "{log}");
    wait_for_written(&second, 1);
    each_once(&second.written(), &victims);
    let more = some(world, 1);
    wait_for_written(&second, 2);
    balanced(&second);
    each_once(&second.stop_and_read().2, &more);
    format!("{hook} was missed, what waited was told")
}

/// Maps of other types, sizes and entries where the daemon's own should be.
pub(crate) fn foreign_maps(world: &World) -> String {
    let mut daemons = Daemons::new(world);
    drop(daemons.start(&[]));
    let ring = generation(&daemons).join("ring");
    let ledger = daemons.bpffs.pin_dir().join("ledger");
    let foreign = "foreign";
    fs::create_dir(daemons.bpffs.pin_dir().join(foreign)).unwrap();

    fs::remove_file(&ring).unwrap();
    let map = HashMap::<MapData, u32, u32>::create(8, 0).unwrap();
    map.pin(&ring).unwrap();
    let daemon = daemons.start(&[]);
    assert!(
        daemon.log().contains("the ring: it is no ring buffer"),
        "{}",
        daemon.log()
    );
    works(world, daemon);

    for entries in [1, 64] {
        fs::remove_file(&ledger).unwrap();
        let map = Array::<MapData, u64>::create(entries, 0).unwrap();
        map.pin(&ledger).unwrap();
        let daemon = daemons.start(&[]);
        assert!(
            daemon
                .log()
                .contains("the ledger: it is no mmap-able array"),
            "{}",
            daemon.log()
        );
        works(world, daemon);
    }

    // As a release with another layout would leave it.
    fs::remove_file(&ledger).unwrap();
    let map = Array::<MapData, u64>::create(64, 1 << 10).unwrap();
    map.pin(&ledger).unwrap();
    let daemon = daemons.start(&[]);
    assert!(
        daemon.log().contains("that of another release"),
        "{}",
        daemon.log()
    );
    works(world, daemon);

    fs::remove_file(&ledger).unwrap();
    fs::create_dir(&ledger).unwrap();
    assert!(
        daemons.bpffs.pin_dir().join(foreign).exists(),
        "it is not the daemon's"
    );
    fs::remove_dir(&ledger).unwrap();
    "refused by what they are, and replaced".to_owned()
}

pub(crate) fn wiped(world: &World) -> String {
    let mut daemons = Daemons::new(world);
    let daemon = daemons.start(&[]);
    fs::remove_dir_all(daemons.bpffs.pin_dir()).unwrap();
    let victims = some(world, 1);
    wait_for_written(&daemon, 1);
    each_once(&daemon.written(), &victims);
    // A request makes it look.
    daemon.metrics();
    let (status, log) = daemon.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.contains("is gone") && last.contains("oom-probe:"),
        "{log}"
    );
    works(world, daemons.start(&[]));
    "noticed, exit code 1, and armed anew".to_owned()
}

pub(crate) fn no_bpffs(world: &World) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let pin_dir = scratch.path().join("pins");
    let program = &world.programs().oom_probe;
    let state = scratch.path().join("state").display().to_string();
    let flags = ["--state-dir", &state];
    let daemon = Daemon::start_pinned(program, scratch.path(), &pin_dir, &flags).unwrap();
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("no bpffs"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains("--pin-dir") && line.contains("mount"),
        "{line}"
    );
    assert_eq!(daemon.metrics().value("oom_probe_pinned"), 0);
    assert!(!pin_dir.exists());
    let victims = some(world, 1);
    wait_for_written(&daemon, 1);
    each_once(&daemon.written(), &victims);
    "unpinned, and says so".to_owned()
}
