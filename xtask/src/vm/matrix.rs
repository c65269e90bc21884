//! Puts what the machines said together: scenario by machine, with nothing left out unnoticed.

use super::serial::{Said, Scenario, Verdict};

/// One machine's contribution.
#[derive(Debug)]
pub(crate) struct Column {
    /// Name of the machine.
    pub(crate) machine: String,
    /// What it said.
    pub(crate) said: Said,
    /// Seconds from start to power off.
    pub(crate) seconds: f64,
    /// What went wrong with the machine as a whole; empty if nothing did.
    pub(crate) problems: Vec<String>,
}

impl Column {
    /// The same machine with what it said when it was started again: a scenario told then takes the
    /// place of the one told before.
    pub(crate) fn again(mut self, second: Self) -> Self {
        let told_again = |name: &str| second.said.scenarios.iter().any(|again| again.name == name);
        let scenarios = &mut self.said.scenarios;
        scenarios.retain(|scenario| {
            matches!(scenario.verdict, Verdict::Failed(_)) || !told_again(&scenario.name)
        });
        scenarios.extend(second.said.scenarios);
        self.seconds += second.seconds;
        let problems = second.problems.into_iter();
        self.problems
            .extend(problems.map(|problem| format!("started again: {problem}")));
        self
    }
}

/// One field of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The scenario ran on this machine, or was skipped there, and said so.
    Told(Verdict),
    /// Another machine told this scenario and this one did not.
    Missing,
}

/// The table: a row for every scenario that any machine told, in order of first appearance.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<(String, Vec<Cell>)>,
}

impl Matrix {
    /// Collates the columns.
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for scenario in columns.iter().flat_map(|column| &column.said.scenarios) {
            if !names.contains(&scenario.name.as_str()) {
                names.push(&scenario.name);
            }
        }
        let row = |name: &str| {
            columns
                .iter()
                .map(|column| cell(&column.said, name))
                .collect()
        };
        let rows = names
            .iter()
            .map(|name| ((*name).to_owned(), row(name)))
            .collect();
        Self { columns, rows }
    }

    /// What ran where, how it came out and how long it took: for a table of another kind.
    pub(crate) fn results(&self) -> impl Iterator<Item = (&str, &Scenario)> {
        self.columns.iter().flat_map(|column| {
            let machine = column.machine.as_str();
            column
                .said
                .scenarios
                .iter()
                .map(move |scenario| (machine, scenario))
        })
    }

    /// One line for each thing that is not as it should be; empty means all is right.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let machine = &column.machine;
            failures.extend(
                column
                    .problems
                    .iter()
                    .map(|problem| format!("{machine}: {problem}")),
            );
            for (scenario, cells) in &self.rows {
                match &cells[index] {
                    Cell::Told(Verdict::Failed(why)) => {
                        failures.push(format!("{machine}: {scenario} failed: {why}"));
                    }
                    Cell::Missing => {
                        failures.push(format!("{machine}: {scenario} is missing: it never told"));
                    }
                    Cell::Told(_) => {}
                }
            }
        }
        failures
    }
}

/// A scenario told twice is right only if it was so both times.
fn cell(said: &Said, name: &str) -> Cell {
    let mut told = said
        .scenarios
        .iter()
        .filter(|s| s.name == name)
        .map(|s| &s.verdict);
    let Some(first) = told.next() else {
        return Cell::Missing;
    };
    let worst = told
        .find(|verdict| matches!(verdict, Verdict::Failed(_)))
        .unwrap_or(first);
    Cell::Told(worst.clone())
}

/// What is wrong with a machine as a whole, whatever its scenarios say.
pub(crate) fn problems(
    said: &Said,
    timed_out: Option<u64>,
    differences: Vec<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(seconds) = timed_out {
        problems.push(format!("did not end within {seconds} s"));
    }
    match said.exit {
        None => problems.push("no end marker: the machine never got to tell a result".to_owned()),
        Some(0) => {}
        Some(code) => problems.push(format!("the test ended with exit code {code}")),
    }
    if said.exit == Some(0) && said.scenarios.is_empty() {
        problems.push("the test ran no scenario".to_owned());
    }
    problems.extend(
        said.unreadable
            .iter()
            .map(|line| format!("unreadable result: {line}")),
    );
    if said.exit.is_some() {
        problems.extend(differences);
    }
    problems
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::serial::parse;
    use super::*;

    /// A column as made from a machine's log.
    pub(crate) fn column(machine: &str, log: &str) -> Column {
        let said = parse(log);
        let problems = problems(&said, None, Vec::new());
        Column {
            machine: machine.to_owned(),
            said,
            seconds: 4.2,
            problems,
        }
    }

    const FINE: &str = "@@ {\"scenario\":\"a\",\"ok\":true}\n\
                        @@ {\"scenario\":\"b\",\"skipped\":\"no cpuset\"}\n\
                        vm-init: exit=0\n";

    #[test]
    fn passed_and_skipped_everywhere_is_all_right() {
        let matrix = Matrix::new(vec![column("x", FINE), column("y", FINE)]);
        assert_eq!(matrix.failures(), Vec::<String>::new());
        assert_eq!(matrix.rows.len(), 2);
    }

    #[test]
    fn what_a_machine_says_when_started_again_counts_unless_it_had_failed_before() {
        let second = |log| column("x", FINE).again(column("x", log));
        let told = |log| Matrix::new(vec![second(log)]);
        let skipped_then_ok = "@@ {\"scenario\":\"b\",\"ok\":true}\nvm-init: exit=0\n";
        let matrix = told(skipped_then_ok);
        assert_eq!(matrix.failures(), Vec::<String>::new());
        let passed = Cell::Told(Verdict::Passed);
        assert_eq!(matrix.rows[1], ("b".to_owned(), vec![passed]));
        let failed = "@@ {\"scenario\":\"b\",\"ok\":false}\nvm-init: exit=1\n";
        let ended = "x: started again: the test ended with exit code 1";
        assert_eq!(told(failed).failures(), [ended, "x: b failed: "]);
        assert_eq!(
            told("vm-init: exit=0\n").failures(),
            ["x: started again: the test ran no scenario"]
        );
        let first = column("x", failed).again(column("x", skipped_then_ok));
        assert_eq!(Matrix::new(vec![first]).failures().len(), 2);
    }

    #[test]
    fn a_scenario_told_by_one_machine_only_is_missing_on_the_other() {
        let short = "@@ {\"scenario\":\"b\",\"ok\":true}\nvm-init: exit=0\n";
        let matrix = Matrix::new(vec![column("x", FINE), column("y", short)]);
        assert_eq!(matrix.failures(), ["y: a is missing: it never told"]);
    }

    #[test]
    fn a_scenario_told_twice_fails_if_it_failed_once() {
        let twice = "@@ {\"scenario\":\"a\",\"ok\":true}\n\
                     @@ {\"scenario\":\"a\",\"ok\":false,\"detail\":\"2 kills\"}\n\
                     vm-init: exit=0\n";
        let matrix = Matrix::new(vec![column("x", twice)]);
        assert_eq!(matrix.failures(), ["x: a failed: 2 kills"]);
    }

    #[test]
    fn a_machine_fails_for_its_marker_its_exit_code_and_its_silence() {
        let of = |log: &str, timed_out| problems(&parse(log), timed_out, vec!["differs".into()]);
        let none = "no end marker: the machine never got to tell a result";
        assert_eq!(of("", None), [none]);
        assert_eq!(of("", Some(300)), ["did not end within 300 s", none]);
        assert_eq!(
            of("vm-init: exit=137\n", None),
            ["the test ended with exit code 137", "differs"]
        );
        assert_eq!(
            of("vm-init: exit=0\n", None),
            ["the test ran no scenario", "differs"]
        );
        let cut = "@@ {\nvm-init: exit=1\n";
        assert!(of(cut, None)[1].starts_with("unreadable result: "));
    }
}
