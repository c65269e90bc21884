//! PID 1 of the machines that `cargo xtask vm-test` boots: starts the other processors, makes the
//! kernel's file systems reachable, tells what kernel this is, runs the test, tells its exit code, and powers off.
//!
//! It talks on the second serial port, one `vm-init: key=value` line each. Its last line is
//! `vm-init: exit=CODE`; without that line the machine counts as failed. What the test leaves below
//! `/next-boot` goes through the third port, and the machine is started again with that.

mod cgroups;
mod facts;
mod mounts;
mod process;
mod processors;
mod send;
mod serial;

use std::fs;
use std::io::Write;

use cgroups::Version;

/// The test, if the machine has one.
const TEST: &str = "/bin/test";

fn main() {
    // Without /proc and /dev there is no serial port to complain on: the console has to do.
    if let Err(error) = mounts::basic() {
        eprintln!("vm-init: {error}");
        process::power_off();
    }
    let mut port = match serial::open("/dev/ttyS1") {
        Ok(port) => port,
        Err(error) => {
            eprintln!("vm-init: /dev/ttyS1: {error}");
            process::power_off()
        }
    };
    match run(&mut port) {
        // A line break first: the test may have ended in the middle of a line.
        Ok(code) => serial::say(&mut port, &format!("\nvm-init: exit={code}")),
        Err(error) => serial::say(&mut port, &format!("\nvm-init: error={error}")),
    }
    serial::drain(&port);
    process::power_off();
}

/// Everything between the first mount and the marker; gives the test's exit code.
fn run(port: &mut fs::File) -> Result<i32, String> {
    let cmdline = fs::read_to_string("/proc/cmdline").map_err(|e| format!("/proc/cmdline: {e}"))?;
    let version = Version::from_cmdline(&cmdline);
    let mut notes = processors::start();
    notes.extend(mounts::rest());
    notes.extend(cgroups::mount_all(version));
    notes.extend(process::loopback_up().err());
    for (key, value) in facts::short(version) {
        serial::say(port, &format!("vm-init: {key}={value}"));
    }
    for note in notes {
        serial::say(port, &format!("vm-init: note={note}"));
    }
    if parameter(&cmdline, "oomprobe.facts").is_some() {
        send::through_port(facts::send)?;
    }
    port.flush().map_err(|e| format!("/dev/ttyS1: {e}"))?;
    if !fs::exists(TEST).unwrap_or(false) {
        return Ok(0);
    }
    let name = parameter(&cmdline, "oomprobe.name").unwrap_or("unnamed");
    let code = process::run_test(TEST, name, port)?;
    if send::has_next_boot() {
        send::through_port(send::next_boot)?;
    }
    Ok(code)
}

/// The value of `key=value` on the kernel's command line.
fn parameter<'a>(cmdline: &'a str, key: &str) -> Option<&'a str> {
    let mut words = cmdline.split_whitespace();
    words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        let cmdline = "console=ttyS0 oomprobe.names=x oomprobe.name=6.1-rt quiet\n";
        assert_eq!(parameter(cmdline, "oomprobe.name"), Some("6.1-rt"));
        assert_eq!(parameter(cmdline, "quiet"), None);
    }
}
