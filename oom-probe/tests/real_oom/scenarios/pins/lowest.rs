//! A hook that older kernels attach without a link.

use std::path::Path;
use std::process::Command;

use super::{Daemons, Victims, some};
use crate::daemon::Daemon;
use crate::harness::skipped;
use crate::scenarios::lowest::without_btf;
use crate::world::World;

/// Where the kernel keeps it only as long as its daemon, that is said, and nothing is pinned.
pub(crate) fn plain_tracepoint(world: &World) -> String {
    if !Path::new("/sys/kernel/tracing/events/oom/mark_victim/format").exists() {
        return skipped("tracefs does not show the tracepoint");
    }
    let daemons = Daemons::new(world);
    let scratch = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let start = |scratch: &Path| {
        let mut command = Command::new(&world.programs().oom_probe);
        command.args(["run", "--pin-dir"]);
        command.arg(daemons.bpffs.pin_dir());
        command.arg("--state-dir").arg(daemons.state.path());
        without_btf(&mut command, &scratch.join("nothing"));
        let daemon = Daemon::start_pinned_as(command, scratch).unwrap();
        let hook = daemon.metrics().label("oom_probe_hook_info", "hook");
        assert_eq!(hook, "tracepoint", "{}", daemon.log());
        daemon
    };
    let first = start(scratch[0].path());
    if first.metrics().value("oom_probe_pinned") == 0 {
        says_so(&first, &daemons);
        drop(first);
        let second = start(scratch[1].path());
        says_so(&second, &daemons);
        told(&second, &some(world, 2));
        return "not to be kept by this kernel, which is said".to_owned();
    }
    drop(first);
    let victims = some(world, 3);
    let second = start(scratch[1].path());
    second.wait_for_log("taking over");
    told(&second, &victims);
    assert_eq!(second.metrics().value("oom_probe_pinned"), 1);
    "3 of 3 kills while no daemon ran".to_owned()
}

fn says_so(daemon: &Daemon, daemons: &Daemons<'_>) {
    daemon.wait_for_log("kills while no daemon runs are lost: this kernel");
    assert_eq!(daemon.metrics().value("oom_probe_pinned"), 0);
    assert!(!daemons.bpffs.pin_dir().exists());
}

fn told(daemon: &Daemon, victims: &Victims) {
    let kills = daemon.kills(None);
    let mut pids: Vec<u32> = kills.iter().map(|record| record.kill.victim.pid).collect();
    pids.retain(|pid| victims.contains_key(pid));
    pids.sort_unstable();
    assert!(pids.iter().eq(victims.keys()), "{pids:?} of {victims:?}");
    assert_eq!(daemon.metrics().value("oom_probe_unaccounted_kills"), 0);
}
