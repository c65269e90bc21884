//! What the daemon can do without, what it says when it can't, and what it gives up by itself.

use std::fs;

use rustix::thread::CapabilitySet;

use super::LIMIT;
use super::pins::Bpffs;
use super::start::{CANNOT_CAPTURE, daemon, refuses};
use crate::confined::Confined;
use crate::daemon::Daemon;
use crate::harness::skipped;
use crate::world::{Running, World};

/// What a container of the daemon has.
const LEAST: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
/// What it takes besides where maps count against RLIMIT_MEMLOCK.
const WITH_MEMLOCK: CapabilitySet = LEAST.union(CapabilitySet::SYS_RESOURCE);

/// Two capabilities are enough, and none is left once it captures. Whoever has none may not call
/// bpf(2) at all where the kernel is told so, and nothing needs it.
pub(crate) fn least_privilege(world: &World) -> String {
    forbid_unprivileged_bpf(world, "2");
    let scratch = tempfile::tempdir().unwrap();
    let (mut rights, mut had) = (LEAST, "BPF, PERFMON");
    let mut daemon = start(world, rights, &scratch);
    if let Err(said) = &daemon
        && said.contains("RLIMIT_MEMLOCK")
    {
        assert!(said.contains("SYS_RESOURCE"), "{said}");
        (rights, had) = (WITH_MEMLOCK, "BPF, PERFMON, SYS_RESOURCE");
        daemon = start(world, rights, &scratch);
    }
    let daemon = daemon.unwrap();
    let threads = without_rights(daemon.pid());
    let pid = kill(world);
    assert!(has_told(&daemon, pid));
    forbid_unprivileged_bpf(world, "1");
    let pid = kill(world);
    assert!(has_told(&daemon, pid));
    assert_eq!(daemon.metrics().value("oom_probe_unaccounted_kills"), 0);
    let kept = fs::metadata(scratch.path().join("state/snapshot"));
    assert!(kept.is_ok_and(|file| file.len() > 0), "{}", daemon.log());
    drop(daemon);
    takes_over(world, rights);
    format!("started, and took over, with {had}; captures with none on its {threads} threads")
}

/// They are enough for what a daemon before it has pinned, too.
fn takes_over(world: &World, rights: CapabilitySet) {
    let bpffs = Bpffs::mount();
    let [state, first, second] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let start = |scratch: &tempfile::TempDir| {
        let mut command = daemon(world);
        command.arg("--pin-dir").arg(bpffs.pin_dir());
        command.arg("--state-dir").arg(state.path());
        Confined::to(rights).apply(&mut command);
        Daemon::start_pinned_as(command, scratch.path()).unwrap()
    };
    drop(start(&first));
    let pid = kill(world);
    let daemon = start(&second);
    assert!(daemon.log().contains("taking over"), "{}", daemon.log());
    without_rights(daemon.pid());
    assert!(has_told(&daemon, pid));
}

fn has_told(daemon: &Daemon, pid: u32) -> bool {
    let kills = daemon.kills(None);
    kills.iter().any(|record| record.kill.victim.pid == pid)
}

/// `kernel.unprivileged_bpf_disabled`: 2 until somebody changes it, 1 until the machine is started
/// anew, which is why only an emulated one is told.
fn forbid_unprivileged_bpf(world: &World, value: &str) {
    if world.vm.is_some() {
        fs::write("/proc/sys/kernel/unprivileged_bpf_disabled", value).unwrap();
    }
}

fn start(
    world: &World,
    capabilities: CapabilitySet,
    scratch: &tempfile::TempDir,
) -> Result<Daemon, String> {
    let mut command = daemon(world);
    command.arg("--state-dir").arg(scratch.path().join("state"));
    Confined::to(capabilities).apply(&mut command);
    Daemon::start_as(command, scratch.path())
}

/// No thread has a capability, or may get one; returns how many threads there are.
fn without_rights(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut count = 0;
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for line in [
            "CapInh:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "CapAmb:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(
                status.lines().any(|found| found == line),
                "{line}: {status}"
            );
        }
        count += 1;
    }
    assert!(count > 0);
    count
}

/// One kill; its victim's pid.
pub(super) fn kill(world: &World) -> u32 {
    let cgroup = world.limited("victim", LIMIT);
    let hog = world.hog(&["grow", "--interval", "0"]);
    Running::start(&cgroup, hog).end().killed().pid
}

/// Each missing right is named, and nothing else.
pub(crate) fn missing_rights(world: &World) -> String {
    let all = CapabilitySet::all();
    let filtered = |errno| Confined {
        bpf: Some(errno),
        ..Confined::to(all)
    };
    let cases = [
        (
            Confined::to(LEAST - CapabilitySet::PERFMON),
            "missing capabilities: PERFMON; ",
        ),
        (
            Confined::to(LEAST - CapabilitySet::BPF),
            "missing capabilities: BPF; ",
        ),
        (
            Confined::to(CapabilitySet::empty()),
            "missing capabilities: BPF, PERFMON; ",
        ),
        (
            Confined::to(CapabilitySet::SYS_RESOURCE),
            "missing capabilities: BPF, PERFMON; ",
        ),
        (filtered(libc::EPERM), "a seccomp filter refuses bpf(2); "),
        (filtered(libc::ENOSYS), "a seccomp filter refuses bpf(2); "),
    ];
    for (confined, expected) in cases {
        let mut command = daemon(world);
        command.args(["--listen", "127.0.0.1:0", "--no-pin"]);
        confined.apply(&mut command);
        let line = refuses(command, CANNOT_CAPTURE);
        assert!(line.contains(expected), "{confined:?}: {line}");
    }
    format!("{} cases, each named in one line", cases.len())
}

/// As low as the kernel lets it go, and never up.
pub(crate) fn oom_score_adj(world: &World) -> String {
    let own = score(std::process::id());
    let shared = score(world.daemon.pid());
    if !may_set_lowest() {
        assert!(shared <= own, "the test has {own}, the daemon {shared}");
        return skipped("this test has no CAP_SYS_RESOURCE: it cannot say how low others may go");
    }
    // This daemon may go anywhere; what it was given below -999 is left to it.
    assert_eq!(shared, own.min(-999));
    if cannot_raise_memlock(world) {
        return skipped("without CAP_SYS_RESOURCE nothing is captured on this kernel");
    }
    let cases = [(700, 300, 300), (700, -17, -17), (0, 0, 0)];
    for (value, lowest, expected) in cases {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = daemon(world);
        let confined = Confined {
            oom_score_adj: Some((value, lowest)),
            ..Confined::to(CapabilitySet::all() - CapabilitySet::SYS_RESOURCE)
        };
        confined.apply(&mut command);
        let daemon = Daemon::start_as(command, scratch.path()).unwrap();
        let holds = score(daemon.pid());
        assert_eq!(holds, expected, "from {value}, not below {lowest}");
    }
    format!("{shared} with all rights, else as low as {cases:?} allow")
}

fn may_set_lowest() -> bool {
    let own = rustix::thread::capabilities(None).unwrap();
    own.effective.contains(CapabilitySet::SYS_RESOURCE)
}

fn cannot_raise_memlock(world: &World) -> bool {
    let scratch = tempfile::tempdir().unwrap();
    start(world, LEAST, &scratch).is_err_and(|said| said.contains("RLIMIT_MEMLOCK"))
}

fn score(pid: u32) -> i16 {
    let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    text.trim().parse().unwrap()
}
