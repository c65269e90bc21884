//! The lowest rung of the ladder: no types of the kernel, only the plain tracepoint.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::{
    case::shown,
    daemon::Daemon,
    harness::skipped,
    mounts, wait,
    world::{Running, World},
};
use capture::model::labels::Scope;

use super::trigger::beside_exiting;
use super::{LIMIT, storm};

/// The lowest rung: what the kernel does not give is read from /proc, and what is gone by then is
/// marked as not known.
pub(crate) fn plain_tracepoint(world: &World) -> String {
    if !Path::new("/sys/kernel/tracing/events/oom/mark_victim/format").exists() {
        return skipped("tracefs does not show the tracepoint");
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut command = Command::new(&world.programs().oom_probe);
    command.arg("run");
    without_btf(&mut command, &scratch.path().join("nothing"));
    let daemon = Daemon::start_as(command, scratch.path()).unwrap();
    let hook = daemon.metrics().label("oom_probe_hook_info", "hook");
    assert_eq!(hook, "tracepoint", "{}", daemon.log());

    // Touching a page is slow where the machine is emulated. Elsewhere the parent cannot be spared, so
    // there has to be room for it while both children are dying.
    let limit = match world.vm {
        Some(_) => storm::LIMIT,
        None => 2 * LIMIT,
    };
    let cgroup = world.limited("plain", limit);
    let herd = [
        "--oom-score-adj",
        world.spared(),
        "herd",
        "--children",
        "100",
        "--parallel",
        "2",
        "--interval",
        "0",
        "--step",
        "4M",
    ];
    let ended = Running::start(&cgroup, world.hog(&herd)).end();
    let victims: BTreeSet<u32> = ended
        .numbers("hog: child ", " killed by SIGKILL")
        .into_iter()
        .collect();
    assert_eq!(victims.len(), 100, "{}", ended.said);
    let told = || daemon.kills(None);
    let kills = wait::until("the kills are told", told, |kills| kills.len() >= 100);
    let told: BTreeSet<u32> = kills.iter().map(|record| record.kill.victim.pid).collect();
    assert_eq!((kills.len(), &told), (100, &victims), "{}", shown(&kills));
    let path = cgroup.path().display().to_string();
    let mut resolved = 0;
    for record in &kills {
        let known = record
            .kill
            .cgroup
            .as_ref()
            .and_then(|cgroup| cgroup.path.as_ref());
        match known {
            Some(known) => {
                assert_eq!(known.to_string(), path);
                assert!(
                    record.kill.from_proc,
                    "{}",
                    shown(std::slice::from_ref(record))
                );
                resolved += 1;
            }
            None => assert_eq!(
                record.scope,
                Scope::Unknown,
                "{}",
                shown(std::slice::from_ref(record))
            ),
        }
    }
    assert_eq!(daemon.metrics().value("oom_probe_unaccounted_kills"), 0);

    // The chosen one is dying anyway: marked, not killed.
    beside_exiting(world);
    let metrics = daemon.metrics();
    assert_eq!(metrics.value("oom_probe_exiting_marks_total"), 1);
    assert_eq!(metrics.value("oom_probe_unaccounted_kills"), 0);
    assert_eq!(daemon.kills(None).len(), 100);
    format!("100 of 100 kills, {resolved} with their cgroup, 1 exiting mark told apart")
}

/// Lets the command see an empty file, made at `nothing`, where the kernel's types are.
pub(super) fn without_btf(command: &mut Command, nothing: &Path) {
    fs::write(nothing, "").unwrap();
    let nothing = CString::new(nothing.as_os_str().as_bytes()).unwrap();
    let hide = move || {
        mounts::unshare()?;
        rustix::mount::mount_bind(&*nothing, c"/sys/kernel/btf/vmlinux")?;
        Ok(())
    };
    // SAFETY: between fork and exec only system calls run, on strings that the closure owns or that
    // are static; they neither allocate nor take a lock.
    unsafe { command.pre_exec(hide) };
}
