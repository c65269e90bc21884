//! One daemon has the pins, and another or `oom-probe unpin` wants them.

use std::fs;
use std::process::{Command, Output};
use std::thread;

use super::{Daemons, each_once, some, wait_for_written};
use crate::daemon;
use crate::wait;
use crate::world::World;

/// The second takes over as soon as the first has gone.
pub(crate) fn holder_ends(world: &World) -> String {
    let mut daemons = Daemons::new(world);
    let first = daemons.start(&[]);
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join(daemon::LOG);
    let second = thread::scope(|scope| {
        let second = scope.spawn(|| daemons.start_in(scratch, &[]));
        let said = || fs::read_to_string(&log).unwrap_or_default();
        let waits = |said: &String| said.contains("waiting 30 s at most");
        wait::until("the second waits", said, waits);
        drop(first);
        second.join().unwrap().unwrap()
    });
    let log = second.log();
    assert!(log.contains("taking over"), "{log}");
    let victims = some(world, 1);
    wait_for_written(&second, 1);
    each_once(&second.written(), &victims);
    "waited, and took over".to_owned()
}

pub(crate) fn holder_stays(world: &World) -> String {
    let mut daemons = Daemons::new(world);
    let first = daemons.start(&[]);
    let pid = first.pid();
    let mut second = Command::new(&world.programs().oom_probe);
    second.args(["run", "--listen", "127.0.0.1:0", "--pin-dir"]);
    let output = second.arg(daemons.bpffs.pin_dir()).output().unwrap();
    let (code, said) = said(&output);
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("held by pid {pid} on ")), "{said}");
    let victims = some(world, 1);
    wait_for_written(&first, 1);
    each_once(&first.written(), &victims);
    last.to_owned()
}

pub(crate) fn unpin(world: &World) -> String {
    let mut daemons = Daemons::new(world);
    let unpin_and = |daemons: &Daemons<'_>, flags: &[&str]| {
        let mut unpin = Command::new(&world.programs().oom_probe);
        unpin.args(["unpin", "--pin-dir"]);
        unpin.arg(daemons.bpffs.pin_dir()).arg("--state-dir");
        let output = unpin.arg(daemons.state.path()).args(flags).output();
        said(&output.unwrap())
    };
    let unpin = |daemons: &Daemons<'_>| unpin_and(daemons, &[]);
    let daemon = daemons.start(&[]);
    let (code, refused) = unpin(&daemons);
    assert_eq!(code, Some(2), "{refused}");
    assert!(
        refused.contains(&format!("held by pid {}", daemon.pid())),
        "{refused}"
    );
    assert_eq!(refused.lines().count(), 1, "{refused}");
    daemon.kill();
    assert!(daemons.bpffs.pin_dir().exists());
    let (code, unpinned) = unpin(&daemons);
    assert_eq!(code, Some(0), "{unpinned}");
    assert!(unpinned.contains("unpinned"), "{unpinned}");
    assert!(!daemons.bpffs.pin_dir().exists());
    let (code, again) = unpin(&daemons);
    assert_eq!(code, Some(0), "{again}");
    assert!(again.contains("nothing is pinned"), "{again}");
    assert!(daemons.state.path().join("snapshot").exists());
    let (code, removed) = unpin_and(&daemons, &["--state"]);
    assert_eq!(code, Some(0), "{removed}");
    assert!(!daemons.state.path().join("snapshot").exists());
    refused.trim_end().to_owned()
}

fn said(output: &Output) -> (Option<i32>, String) {
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}
