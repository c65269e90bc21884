//! A hog that is told to stop while it is at work.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Runs it, sends it the signal once it has said something, and waits for its end. Returns its exit
/// code and what it said from then on.
pub(crate) fn stopped(
    mut command: Command,
    once: &str,
    signal: libc::c_int,
) -> (Option<i32>, Vec<String>) {
    let mut child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line.contains(once)), "it never said so");
    // SAFETY: kill(2) takes no pointer; the pid is that of a child not yet reaped.
    unsafe { libc::kill(child.id().cast_signed(), signal) };
    let rest = lines.collect();
    (child.wait().unwrap().code(), rest)
}
