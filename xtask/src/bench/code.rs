//! What each step of the daemon's own code costs: time by criterion, instructions by callgrind, so
//! that a change shows on a noisy machine too.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::section::Section;
use crate::cmd;

/// A step by its name in `oom-probe/benches/items`, what it is, and how many of it are counted.
const STEPS: [(&str, &str, u32); 5] = [
    ("decode", "decode a record of five levels", 1000),
    ("path", "read a container's path", 1000),
    ("assemble", "decode, and assemble to a kill", 1000),
    ("attribute", "attribute to one of 250 pods", 1000),
    ("scrape", "a scrape of 250 containers, text", 20),
];

pub(super) fn measure(quick: bool) -> Result<Section> {
    let mut section = Section::table(
        "The daemon's own code",
        "Time is criterion's median. Instructions are callgrind's count over many items, divided: \
         the same on a busy machine, so they are what to compare between commits.",
        &["for one", "time", "instructions"],
    );
    eprintln!("bench: the steps of the daemon's code");
    let times = times(quick)?;
    let valgrind = cmd::which("valgrind").is_some();
    if !valgrind {
        section.note("Instructions are not counted: valgrind is not installed here.");
    }
    for (name, what, count) in STEPS {
        let time = times
            .get(name)
            .with_context(|| format!("no time for {name}"))?;
        let instructions = if valgrind {
            format!("{}", instructions(name, count)? / u64::from(count))
        } else {
            String::new()
        };
        section.row([what.to_owned(), time.clone(), instructions]);
    }
    Ok(section)
}

fn bench(name: &str) -> Command {
    let mut cargo = cmd::cargo();
    cargo.args([
        "bench",
        "--quiet",
        "--package",
        "oom-probe",
        "--bench",
        name,
    ]);
    cargo
}

fn times(quick: bool) -> Result<BTreeMap<String, String>> {
    let mut cargo = bench("steps");
    cargo.args(["--", "--output-format", "bencher", "--sample-size", "20"]);
    let seconds = if quick { "1" } else { "3" };
    cargo.args(["--warm-up-time", "1", "--measurement-time", seconds]);
    let output = cargo.stderr(Stdio::inherit()).output();
    let output = output.context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`{}` failed: {}", cmd::shown(&cargo), output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    let items = |name: &str| if name == "scrape" { 1.0 } else { 100.0 };
    Ok(text
        .lines()
        .filter_map(time)
        .map(|(name, ns)| (name.clone(), shown(ns / items(&name))))
        .collect())
}

/// `test steps/decode ... bench:      12,345 ns/iter (+/- 678)`
fn time(line: &str) -> Option<(String, f64)> {
    let (name, rest) = line
        .strip_prefix("test steps/")?
        .split_once(" ... bench:")?;
    let digits: String = rest
        .split("ns/iter")
        .next()?
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    Some((name.trim().to_owned(), digits.parse().ok()?))
}

fn shown(ns: f64) -> String {
    if ns < 1e5 {
        format!("{:.2} µs", ns / 1e3)
    } else {
        format!("{:.2} ms", ns / 1e6)
    }
}

fn instructions(step: &str, count: u32) -> Result<u64> {
    let runner = format!(
        "CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER",
        ARCH.to_uppercase()
    );
    let mut cargo = bench("instructions");
    cargo.args(["--", step, &count.to_string()]).env(
        runner,
        "valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no \
         --toggle-collect=*measured*",
    );
    let output = cargo.output().context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("`{}` failed: {said}", cmd::shown(&cargo));
    }
    collected(&said).with_context(|| format!("callgrind does not tell a count: {said}"))
}

/// `==4711== Collected : 12345`
fn collected(said: &str) -> Option<u64> {
    said.lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_what_the_tools_print() {
        let line = "test steps/decode ... bench:      12,345 ns/iter (+/- 678)";
        assert_eq!(time(line), Some(("decode".into(), 12345.0)));
        assert_eq!(time("running 5 tests"), None);
        let said = "==1== Events    : Ir\n==1== Collected : 4200\n";
        assert_eq!(collected(said), Some(4200));
        assert_eq!(collected("==1== Collected : 0\n"), None);
    }

    #[test]
    fn times_are_shown_in_a_unit_that_fits() {
        assert_eq!(shown(123.0), "0.12 µs");
        assert_eq!(shown(2_340_000.0), "2.34 ms");
    }
}
