//! How the daemon starts and ends, and how it refuses to: one line that names cause and remedy.

use std::fs::File;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use rustix::thread::UnshareFlags;

use super::{CONTAINER, POD_UID};
use crate::daemon::Daemon;
use crate::mounts::private_namespace;
use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// A user and group without any rights.
const NOBODY: u32 = 65534;

/// 1 is for: kills cannot be captured.
pub(super) const CANNOT_CAPTURE: i32 = 1;
/// 2 is for: asked wrongly, or not to be had.
const ASKED_WRONGLY: i32 = 2;

pub(crate) fn stop(world: &World) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&world.programs().oom_probe, scratch.path(), &[]).unwrap();
    let (status, log) = daemon.stop();
    assert!(status.success(), "{status}: {log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.contains("stopped by SIGTERM") && last.contains("0 OOM kills"),
        "{log}"
    );
    "exit code 0 and a summary".to_owned()
}

pub(crate) fn no_privileges(world: &World) -> String {
    // By its descriptor, since the way to it may lead through directories of root's own.
    let program = File::open(&world.programs().oom_probe).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg("run").uid(NOBODY).gid(NOBODY);
    let line = refuses(command, CANNOT_CAPTURE);
    assert!(
        line.contains("CAP_") || line.contains("capabilit"),
        "{line}"
    );
    line
}

pub(crate) fn taken_port(world: &World) -> String {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = daemon(world);
    command.args(["--listen", &address]);
    let line = refuses(command, ASKED_WRONGLY);
    assert!(
        line.contains(&address) && line.contains("--listen"),
        "{line}"
    );
    let mut command = daemon(world);
    command.args(["--listen", &address]);
    ends_unread(command, ASKED_WRONGLY);
    line
}

/// It ends though nobody reads what it says.
fn ends_unread(mut command: Command, code: i32) {
    let (_reader, mut writer) = io::pipe().unwrap();
    // SAFETY: fcntl(2) with this command takes a number alone.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
    writer.write_all(&vec![b' '; size as usize]).unwrap();
    let mut child = command.stderr(writer).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            // It is ours and not yet reaped.
            let _ = child.kill();
            let _ = child.wait();
            panic!("it waits for a reader");
        }
        thread::sleep(PAUSE);
    };
    assert_eq!(status.code(), Some(code));
}

pub(crate) fn bad_flag(world: &World) -> String {
    let mut command = daemon(world);
    command.args(["--histroy", "5"]);
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(ASKED_WRONGLY), "{said}");
    let first = said.lines().next().unwrap_or_default();
    assert!(
        first.contains("--histroy") && said.contains("--history"),
        "{said}"
    );
    first.to_owned()
}

/// What was named has to be usable, though there may be a lower rung that does without.
pub(crate) fn empty_btf(world: &World) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let mut command = daemon(world);
    command.args(["--listen", "127.0.0.1:0", "--btf", &path]);
    let line = refuses(command, ASKED_WRONGLY);
    assert!(line.contains(&path) && line.contains("--btf"), "{line}");
    line
}

/// A root of cgroups that was named has to be one.
pub(crate) fn wrong_cgroup_root(world: &World) -> String {
    let mut said = String::new();
    for root in ["/nonexistent", "/etc"] {
        let mut command = daemon(world);
        command.args(["--listen", "127.0.0.1:0", "--no-pin", "--cgroup-root", root]);
        said = refuses(command, ASKED_WRONGLY);
        assert!(
            said.contains("--cgroup-root") && said.contains(root),
            "{said}"
        );
    }
    said
}

/// Where none was named and there is none, kills are captured all the same.
pub(crate) fn no_cgroups(world: &World) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = daemon(world);
    // SAFETY: neither allocates nor takes a lock, as is asked of what runs between fork and exec.
    unsafe { command.pre_exec(|| without_cgroups().map_err(Into::into)) };
    let daemon = Daemon::start_as(command, scratch.path()).unwrap();
    let said = "no cgroup file system is mounted at, below or above /sys/fs/cgroup";
    daemon.wait_for_log(said);
    assert!(daemon.log().contains("WARN"), "{}", daemon.log());
    daemon.stop();
    "captures, with a warning".to_owned()
}

/// In a pod the daemon learns from its own cgroup where pods are, though a cgroup namespace hides the
/// names.
pub(crate) fn own_pod(world: &World) -> String {
    let kubepods = "kubelet.slice/kubelet-kubepods.slice";
    let pod = format!(
        "{kubepods}/kubelet-kubepods-pod{}.slice",
        POD_UID.replace('-', "_")
    );
    let container = world.cgroup(&format!("{pod}/cri-containerd-{CONTAINER}.scope"));
    let place = container.path().display().to_string();
    let (above, _) = place.split_once(kubepods).unwrap();
    for own_namespace in [false, true] {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = daemon(world);
        command.env_remove("OOM_PROBE_KUBEPODS_ROOT");
        let procs = container.directory().join("cgroup.procs");
        let procs = File::options().write(true).open(procs).unwrap();
        let enter = move || {
            rustix::io::write(&procs, b"0")?;
            if own_namespace {
                // SAFETY: CLONE_NEWCGROUP leaves the table of file descriptors as it is.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }?;
            }
            Ok(())
        };
        // SAFETY: system calls alone are made between fork and exec.
        unsafe { command.pre_exec(enter) };
        let daemon = Daemon::start_as(command, scratch.path()).unwrap();
        daemon.wait_for_log(&format!("pods are below {above}{kubepods}"));
    }
    "learned from its own pod".to_owned()
}

fn without_cgroups() -> rustix::io::Result<()> {
    private_namespace()?;
    rustix::mount::unmount(c"/sys/fs/cgroup", UnmountFlags::DETACH)
}

pub(super) fn daemon(world: &World) -> Command {
    let mut command = Command::new(&world.programs().oom_probe);
    command.arg("run");
    command
}

/// Runs it to its end; returns the one line that it said.
pub(super) fn refuses(command: Command, code: i32) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    assert!(output.stdout.is_empty());
    said.trim_end().to_owned()
}

fn run(mut command: Command) -> Output {
    command.output().unwrap()
}
