//! Running the test, reaping what it leaves behind, and the end of the machine.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Runs the test with its output on `port` and gives its exit code, 128 + signal if it was killed.
pub(crate) fn run_test(program: &str, machine: &str, port: &File) -> Result<i32, String> {
    let told = |what: &str, error: io::Error| format!("{what}: {error}");
    let arguments = fs::read_to_string("/etc/test-arguments").map_err(|e| told("arguments", e))?;
    let output = || port.try_clone().map_err(|e| told("port", e));
    let child = Command::new(program)
        .args(arguments.lines())
        .env_clear()
        .env("PATH", "/bin")
        .env("HOME", "/tmp")
        .env("RUST_BACKTRACE", "1")
        .env("OOM_PROBE_BIN", "/bin/oom-probe")
        .env("HOG_BIN", "/bin/hog")
        .env("OOM_PROBE_VM", machine)
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?)
        // A group of its own, as under a shell: signals for the test stay with it.
        .process_group(0)
        .spawn()
        .map_err(|e| told(program, e))?;
    let test = libc::pid_t::try_from(child.id()).map_err(|e| e.to_string())?;
    reap_until(test).map_err(|e| told("wait", e))
}

/// Reaps whatever dies, orphans of others too, until `wanted` does.
fn reap_until(wanted: libc::pid_t) -> io::Result<i32> {
    loop {
        let mut status = 0;
        // SAFETY: status is a valid place for the result.
        match unsafe { libc::waitpid(-1, &raw mut status, 0) } {
            pid if pid == wanted => return Ok(exit_code(status)),
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            _orphan => {}
        }
    }
}

fn exit_code(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    }
}

/// Sets the loopback interface up, for the daemon's HTTP port.
pub(crate) fn loopback_up() -> Result<(), String> {
    let told = |what: &str| format!("lo: {what}: {}", io::Error::last_os_error());
    // SAFETY: no pointers; the descriptor is ours and stays open until the machine ends.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(told("socket"));
    }
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives until the call returns.
    match unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(told("set it up")),
    }
}

/// Ends the machine. Nothing needs saving: its only disk is memory.
pub(crate) fn power_off() -> ! {
    for how in [libc::RB_POWER_OFF, libc::RB_AUTOBOOT] {
        // SAFETY: no pointers; it does not return if it works. A restart ends QEMU too, which runs
        // with -no-reboot.
        unsafe { libc::reboot(how) };
    }
    // PID 1 may not return: the kernel panics then, and restarts because of panic=-1.
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_test_ends_as_in_a_shell() {
        assert_eq!(exit_code(0), 0);
        assert_eq!(exit_code(3 << 8), 3);
        assert_eq!(exit_code(libc::SIGKILL), 137);
    }
}
