//! Processes as a container runtime starts them.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use hog::cgroup::Cgroup;

use crate::world::Running;

/// Starts a command as PID 1 of a PID namespace of its own. Its parent, this test, is outside of
/// the container as a runtime's shim is.
pub(crate) fn start_init(cgroup: &Cgroup, command: Command) -> Running {
    in_new_pid_namespace(|| Running::start(cgroup, command))
}

/// Starts a command in the PID namespace of a process, with its parent outside: what `kubectl exec`
/// does, and every container of a pod with `shareProcessNamespace`.
pub(crate) fn start_beside(cgroup: &Cgroup, command: Command, init: &Running) -> Running {
    let namespace = File::open(format!("/proc/{}/ns/pid", init.pid())).unwrap();
    let enter = || {
        // SAFETY: setns(2) takes a descriptor that is open here and a flag; this one concerns only
        // children of this very thread.
        unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWPID) }
    };
    in_namespace(enter, || Running::start(cgroup, command))
}

/// The first process that `start` starts is PID 1 of a PID namespace.
pub(crate) fn in_new_pid_namespace<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        // SAFETY: unshare(2) takes a flag; this one concerns only children of this very thread.
        unsafe { libc::unshare(libc::CLONE_NEWPID) }
    };
    in_namespace(enter, start)
}

/// On a thread of its own, which keeps the namespace of its children until it ends.
fn in_namespace<T: Send>(
    enter: impl FnOnce() -> libc::c_int + Send,
    start: impl FnOnce() -> T + Send,
) -> T {
    let start = || {
        assert_eq!(enter(), 0, "{}", io::Error::last_os_error());
        start()
    };
    thread::scope(|scope| scope.spawn(start).join().unwrap())
}

/// The first argument that makes this test a shell: see [`shell`].
pub(crate) const AS_SHELL: &str = "as-shell";

/// What a shell, tini or npm does as PID 1: it runs the command, waits for its end, and exits with
/// this code some time later.
pub(crate) fn shell(command: &Command, code: u8, after: Duration) -> Command {
    let mut shell = Command::new("/proc/self/exe");
    shell
        .args([AS_SHELL, &code.to_string(), &after.as_millis().to_string()])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    shell
}

/// Is that shell.
pub(crate) fn be_shell(arguments: &[String]) -> ExitCode {
    let [code, after, program, rest @ ..] = arguments else {
        panic!("{AS_SHELL} CODE MILLISECONDS PROGRAM [ARGUMENT…]");
    };
    let ended = Command::new(program).args(rest).status().unwrap();
    println!("shell: {program} ended: {ended}");
    thread::sleep(Duration::from_millis(after.parse().unwrap()));
    ExitCode::from(code.parse::<u8>().unwrap())
}
