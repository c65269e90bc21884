//! Reads what tests print while showing it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::cmd;
use crate::report::Counts;

/// Runs the command, shows each line it prints and counts the tests in it; true if it succeeded.
///
/// # Errors
/// It cannot be run.
pub(super) fn follow(command: &mut Command) -> Result<(Counts, bool)> {
    eprintln!("$ {}", cmd::shown(command));
    command.stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run `{}`", cmd::shown(command)))?;
    let mut counts = Counts::default();
    for line in BufReader::new(child.stdout.take().context("the pipe is gone")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        counts += counted(&line);
    }
    Ok((counts, child.wait()?.success()))
}

/// The tests that a line sums up: libtest's at the end of each program, and the real-OOM test's,
/// which speaks like it.
fn counted(line: &str) -> Counts {
    let Some(summary) = line.strip_prefix("test result: ") else {
        return Counts::default();
    };
    Counts {
        passed: number_before(summary, " passed"),
        failed: number_before(summary, " failed"),
        skipped: number_before(summary, " ignored"),
    }
}

fn number_before(text: &str, word: &str) -> u32 {
    let before = text.split_once(word).map_or("", |(before, _)| before);
    before
        .rsplit([' ', ';'])
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_from_what_they_print() {
        let ok = "test result: ok. 9 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; \
                  finished in 0.00s";
        let cases = [
            (ok, (9, 0, 1)),
            (
                "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured",
                (12, 3, 0),
            ),
            ("test a_test ... ok", (0, 0, 0)),
            ("", (0, 0, 0)),
        ];
        for (line, (passed, failed, skipped)) in cases {
            assert_eq!(
                counted(line),
                Counts {
                    passed,
                    failed,
                    skipped
                },
                "{line}"
            );
        }
    }
}
