//! The serial ports, used raw: what goes in is what arrives in the file at the other end.

use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// Opens a serial port and turns off every translation of the line discipline.
pub(crate) fn open(path: &str) -> io::Result<File> {
    let port = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(path)?;
    let fd = port.as_raw_fd();
    let mut termios = MaybeUninit::uninit();
    // SAFETY: fd is open for the whole function, and termios points to room for one termios.
    if unsafe { libc::tcgetattr(fd, termios.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: tcgetattr succeeded, so it has filled the structure.
    let mut termios = unsafe { termios.assume_init() };
    // SAFETY: termios is a valid structure of ours.
    unsafe { libc::cfmakeraw(&raw mut termios) };
    // SAFETY: fd is open, and termios is valid and only read.
    if unsafe { libc::tcsetattr(fd, libc::TCSANOW, &raw const termios) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(port)
}

/// Writes a line. There is nobody to tell if that fails: the missing marker will.
pub(crate) fn say(port: &mut File, line: &str) {
    let _ = writeln!(port, "{line}");
}

/// Waits until everything written has left the port.
pub(crate) fn drain(port: &File) {
    // SAFETY: the descriptor is open as long as `port` is borrowed.
    unsafe { libc::tcdrain(port.as_raw_fd()) };
}
