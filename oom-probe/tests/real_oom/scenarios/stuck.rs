//! `/healthz` fails when the reader of the ring is not woken any more, and only then.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

use super::privileges::kill;
use super::start::daemon;
use crate::daemon::Daemon;
use crate::harness::skipped;
use crate::http;
use crate::wait::{PATIENCE, PAUSE};
use crate::world::World;

/// Longer than a kill may wait for a reader that counts as alive.
const EACH: Duration = Duration::from_secs(10);

pub(crate) fn stuck_reader(world: &World) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_as(daemon(world), scratch.path()).unwrap();
    let before = kill(world);
    let known = |pid| {
        daemon
            .kills(None)
            .iter()
            .any(|kill| kill.kill.victim.pid == pid)
    };
    assert!(known(before));
    assert_eq!(daemon.get("/healthz"), "ok\n");
    match deafen(daemon.pid()) {
        Ok(0) => panic!("nothing waits for the ring"),
        Ok(_) => {}
        Err(why) => return skipped(&why),
    }
    let deadline = Instant::now() + 2 * PATIENCE;
    // Whatever else the daemon wakes up for has it read what is there: then the next kill waits.
    let (why, after) = loop {
        let (killed, began) = (kill(world), Instant::now());
        match told_within(&daemon, began + EACH) {
            Some(why) => break (why, killed),
            None => assert!(
                Instant::now() < deadline,
                "it never says so: {}",
                daemon.log()
            ),
        }
    };
    assert!(why.contains("503") && why.contains("stuck"), "{why}");
    // What it holds is not lost: whoever asks for kills reads them.
    assert!(known(after));
    why.trim_end().to_owned()
}

/// What `/healthz` says is wrong.
fn told_within(daemon: &Daemon, deadline: Instant) -> Option<String> {
    while Instant::now() < deadline {
        if let Err(why) = http::get(daemon.address(), "/healthz") {
            return Some(why);
        }
        thread::sleep(PAUSE);
    }
    None
}

/// Takes every ring out of the daemon's epoll instances: it goes on, but is not woken for records.
/// Returns how many it took out.
fn deafen(pid: u32) -> Result<usize, String> {
    // SAFETY: pidfd_open(2) takes numbers alone.
    let daemon = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let mut deafened = 0;
    for epoll in descriptors(pid, "anon_inode:[eventpoll]") {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{epoll}")).unwrap();
        let watched = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
        let watched: Vec<RawFd> = watched
            .filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
            .collect();
        let instance = borrowed_from(&daemon, epoll)?;
        for ring in descriptors(pid, "anon_inode:bpf-map") {
            if watched.contains(&ring) {
                remove(&instance, &borrowed_from(&daemon, ring)?, ring)?;
                deafened += 1;
            }
        }
    }
    Ok(deafened)
}

/// The descriptors of a process that lead there.
fn descriptors(pid: u32, target: &str) -> Vec<RawFd> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries
        .filter(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == target))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, String> {
    if fd < 0 {
        return Err(std::io::Error::last_os_error().to_string());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// The same open file as another process's descriptor.
fn borrowed_from(process: &OwnedFd, fd: RawFd) -> Result<OwnedFd, String> {
    // SAFETY: pidfd_getfd(2) takes numbers alone.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
        .map_err(|error| format!("pidfd_getfd: {error}"))
}

/// An epoll instance knows a file by the descriptor's number too (fs/eventpoll.c `ep_find`), so
/// that the file has to have the very number here: in a process of its own, whose other
/// descriptors nobody misses.
fn remove(epoll: &OwnedFd, file: &OwnedFd, number: RawFd) -> Result<(), String> {
    // Out of the way of that number.
    // SAFETY: fcntl(2) with this command takes a number alone.
    let moved = owned(i64::from(unsafe {
        libc::fcntl(epoll.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number + 1)
    }))?;
    // SAFETY: the child makes system calls alone, on numbers, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above; DEL takes no event.
        unsafe {
            let there = libc::dup2(file.as_raw_fd(), number);
            let removed = libc::epoll_ctl(
                moved.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                there,
                std::ptr::null_mut(),
            );
            libc::_exit(i32::from(removed != 0));
        }
    }
    let mut status = -1;
    // SAFETY: the child is this function's own, and the pointer is valid for the call.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if status == 0 {
        Ok(())
    } else {
        Err(format!("the ring cannot be taken out of epoll: {status}"))
    }
}
