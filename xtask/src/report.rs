//! The steps of a long job, each with its outcome: a failed one does not hide the others.

use std::ops::AddAssign;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use comfy_table::{ContentArrangement, Table, presets};

/// How many tests a step ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

impl AddAssign for Counts {
    fn add_assign(
        &mut self,
        Self {
            passed,
            failed,
            skipped,
        }: Self,
    ) {
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
    }
}

/// How a step came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A check without tests of its own.
    Passed,
    Failed(String),
    /// Not done, and why.
    Skipped(String),
    /// A run of tests, and why it failed if that is not in the counts alone.
    Tests(Counts, Option<String>),
}

impl Outcome {
    /// What a check that says yes or why not comes to.
    pub(crate) fn of(check: anyhow::Result<()>) -> Self {
        match check {
            Ok(()) => Self::Passed,
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }

    /// A step without tests of its own counts as one.
    fn counts(&self) -> Counts {
        let none = Counts::default();
        match self {
            Self::Passed => Counts { passed: 1, ..none },
            Self::Failed(_) => Counts { failed: 1, ..none },
            Self::Skipped(_) => Counts { skipped: 1, ..none },
            Self::Tests(counts, problem) => Counts {
                failed: counts.failed.max(u32::from(problem.is_some())),
                ..*counts
            },
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Skipped(_) => "skipped",
            _ if self.counts().failed > 0 => "FAILED",
            _ => "ok",
        }
    }

    fn note(&self) -> String {
        match self {
            Self::Passed => String::new(),
            Self::Failed(why) | Self::Skipped(why) => why.clone(),
            Self::Tests(
                Counts {
                    passed,
                    failed,
                    skipped,
                },
                problem,
            ) => {
                let counts = [(passed, "passed"), (failed, "failed"), (skipped, "skipped")];
                let mut parts: Vec<_> = counts
                    .into_iter()
                    .filter(|(count, word)| **count > 0 || *word == "passed")
                    .map(|(count, word)| format!("{count} {word}"))
                    .collect();
                parts.extend(problem.clone());
                parts.join(", ")
            }
        }
    }
}

/// What was done so far, by several threads if need be.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Mutex<Vec<(String, Outcome, Duration)>>,
}

impl Report {
    /// Does one step and notes how it came out.
    pub(crate) fn step(&self, name: &str, job: impl FnOnce() -> Outcome) {
        eprintln!("=== {name}");
        let start = Instant::now();
        let outcome = job();
        let took = start.elapsed();
        eprintln!(
            "=== {name}: {} in {:.1} s {}",
            outcome.word(),
            took.as_secs_f64(),
            outcome.note()
        );
        self.locked().push((name.into(), outcome, took));
    }

    fn locked(&self) -> MutexGuard<'_, Vec<(String, Outcome, Duration)>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sum over all steps.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for (_, outcome, _) in self.locked().iter() {
            sum += outcome.counts();
        }
        sum
    }

    /// Success if no step failed.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(self.counts().failed > 0))
    }

    /// How many tests ran, steps without tests of their own left out.
    pub(crate) fn tests_run(&self) -> u32 {
        let ran = |outcome: &Outcome| match outcome {
            Outcome::Tests(counts, _) => counts.passed + counts.failed,
            Outcome::Passed | Outcome::Failed(_) | Outcome::Skipped(_) => 0,
        };
        let steps = self.locked();
        steps.iter().map(|(_, outcome, _)| ran(outcome)).sum()
    }

    /// Prints the table and, last, the line of counts.
    pub(crate) fn print(&self) {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(["step", "result", "time", ""]);
        for (name, outcome, took) in self.locked().iter() {
            let took = format!("{:.1} s", took.as_secs_f64());
            // Only the first line: the rest was shown when it happened.
            let note = outcome.note().lines().next().unwrap_or_default().to_owned();
            table.add_row([name.as_str(), outcome.word(), &took, &note]);
        }
        let Counts {
            passed,
            failed,
            skipped,
        } = self.counts();
        let table = table.trim_fmt();
        println!("\n{table}\n{passed} passed, {failed} failed, {skipped} skipped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_counts_as_one_and_a_run_of_tests_as_its_tests() {
        let tests = Counts {
            passed: 7,
            failed: 2,
            skipped: 1,
        };
        let fine = Counts { failed: 0, ..tests };
        let cases = [
            (Outcome::Passed, (1, 0, 0), "ok"),
            (Outcome::Failed("why".into()), (0, 1, 0), "FAILED"),
            (Outcome::Skipped("why".into()), (0, 0, 1), "skipped"),
            (Outcome::Tests(fine, None), (7, 0, 1), "ok"),
            (
                Outcome::Tests(tests, Some("why".into())),
                (7, 2, 1),
                "FAILED",
            ),
            // It did not compile, or died between two tests.
            (
                Outcome::Tests(fine, Some("why".into())),
                (7, 1, 1),
                "FAILED",
            ),
        ];
        for (outcome, (passed, failed, skipped), word) in cases {
            assert_eq!(
                outcome.counts(),
                Counts {
                    passed,
                    failed,
                    skipped
                },
                "{outcome:?}"
            );
            assert_eq!(outcome.word(), word, "{outcome:?}");
        }
    }

    #[test]
    fn every_step_is_done_though_one_fails() {
        let report = Report::default();
        report.step("one", || Outcome::Failed("broken".into()));
        report.step("two", || Outcome::Passed);
        assert_eq!(report.tests_run(), 0);
        assert_eq!(
            report.counts(),
            Counts {
                passed: 1,
                failed: 1,
                skipped: 0
            }
        );
    }
}
