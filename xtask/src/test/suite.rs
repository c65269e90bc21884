//! Runs one test program: shows what is not plainly right, counts and times the rest.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::lines::{self, Ended, Verdict};
use super::programs::{Program, REAL_OOM};
use super::times::Times;
use crate::report::{Counts, Outcome};

/// Programs that are not libtest's; they take a part of a name, as it does.
const OWN_MAIN: [&str; 2] = [REAL_OOM, "guard"];

/// Which tests of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice<'a> {
    /// Only those whose name contains this.
    pub(super) filter: Option<&'a str>,
    /// None whose name contains one of these.
    pub(super) without: &'a [&'a str],
    /// What the real-OOM test is told besides.
    pub(super) arguments: &'a [&'a str],
}

/// Runs the program's tests.
pub(super) fn run(
    program: &Program,
    mut command: Command,
    choice: Choice<'_>,
    times: &Times,
) -> Outcome {
    if OWN_MAIN.iter().any(|name| program.name.ends_with(name)) {
        command.args(choice.arguments).args(choice.filter);
    } else {
        // libtest measures each test behind an option that it calls unstable.
        command
            .args(["-Zunstable-options", "--report-time", "--show-output"])
            .args(choice.filter)
            .args(choice.without.iter().flat_map(|name| ["--skip", name]))
            .env("RUSTC_BOOTSTRAP", "1");
    }
    match follow(&mut command, |ended| {
        if let Some(seconds) = ended.seconds {
            times.note(format!("{}: {}", program.name, ended.name), seconds);
        }
    }) {
        Ok((counts, true)) => Outcome::Tests(counts, None),
        // Failed tests are counted; what else can fail is named.
        Ok((counts, false)) => {
            let problem = (counts.failed == 0)
                .then(|| format!("{} ended before its tests did: see above", program.name));
            Outcome::Tests(counts, problem)
        }
        Err(error) => Outcome::Tests(Counts::default(), Some(format!("{error:#}"))),
    }
}

/// The names of a program's tests.
///
/// # Errors
/// It cannot be run.
pub(super) fn list(program: &Program, mut command: Command) -> Result<Vec<String>> {
    let output = command
        .args(["--list"])
        .output()
        .with_context(|| format!("cannot run {}", program.path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

/// Runs the command and counts its tests; true if it succeeded. Tests that passed are not shown.
fn follow(command: &mut Command, mut ended: impl FnMut(&Ended)) -> Result<(Counts, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let stdout = child.stdout.take().context("the pipe is gone")?;
    let mut reader = Reader::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if let Some(shown) = reader.read(line, &mut ended) {
            println!("{shown}");
        }
    }
    Ok((reader.counts, child.wait()?.success()))
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    counts: Counts,
    /// Tests that passed have printed what follows.
    in_successes: bool,
    /// The test whose output is read.
    of: String,
}

impl Reader {
    /// Takes a line in; gives what a person should see of it.
    fn read(&mut self, line: String, ended: &mut impl FnMut(&Ended)) -> Option<String> {
        if let Some(test) = lines::ended(&line) {
            ended(&test);
            match test.verdict {
                Verdict::Passed => self.counts.passed += 1,
                Verdict::Failed => self.counts.failed += 1,
                Verdict::Skipped => self.counts.skipped += 1,
            }
            return (test.verdict != Verdict::Passed).then_some(line);
        }
        match line.as_str() {
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            _ => {}
        }
        if let Some(name) = lines::output_of(&line) {
            name.clone_into(&mut self.of);
        }
        if !self.in_successes {
            return (!line.is_empty() && !line.starts_with("running ")).then_some(line);
        }
        let reason = lines::skipped(&line)?;
        // It has counted as passed; several reasons of one test are one.
        let of = std::mem::take(&mut self.of);
        (!of.is_empty()).then(|| {
            self.counts.passed -= 1;
            self.counts.skipped += 1;
            format!("test {of} ... skipped ({reason})")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 4 tests
test a ... ok <0.001s>
test b ... ok <0.002s>
test c ... FAILED <0.003s>
test d ... ok <0.004s>

successes:

---- b stdout ----
skipped: no helm on the PATH
skipped: no helm on the PATH

---- d stdout ----
some words

successes:
    a
    b
    d

failures:

---- c stdout ----
left: 1

test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    #[test]
    fn a_test_that_says_it_was_skipped_did_not_pass() {
        let mut reader = Reader::default();
        let mut seconds = 0.0;
        let mut shown = Vec::new();
        for line in OUTPUT.lines() {
            let line = line.to_owned();
            shown.extend(reader.read(line, &mut |ended: &Ended| {
                seconds += ended.seconds.unwrap_or(0.0);
            }));
        }
        let expected = Counts {
            passed: 2,
            failed: 1,
            skipped: 1,
        };
        assert_eq!(reader.counts, expected);
        assert!((seconds - 0.01).abs() < 1e-9, "{seconds}");
        assert_eq!(
            shown,
            [
                "test c ... FAILED <0.003s>",
                "test b ... skipped (no helm on the PATH)",
                "failures:",
                "---- c stdout ----",
                "left: 1",
                "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; \
                 finished in 0.01s"
            ]
        );
    }
}
