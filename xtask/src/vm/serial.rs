//! What a machine said on its second serial port: facts and the end marker by PID 1, one line of
//! JSON per scenario by the test.

use serde::Deserialize;

const INIT: &str = "vm-init: ";
const SCENARIO: &str = "@@ ";

/// How one scenario came out on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// Not possible on this kernel, and why.
    Skipped(String),
    Failed(String),
}

/// One scenario's line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    pub(crate) seconds: Option<f64>,
}

/// All that a machine said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    /// `uname -r`.
    pub(crate) release: String,
    /// Other `key=value` lines of PID 1.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) scenarios: Vec<Scenario>,
    /// The test's exit code; absent if PID 1 never got to tell it.
    pub(crate) exit: Option<i32>,
    /// Lines that look like a scenario's and cannot be read.
    pub(crate) unreadable: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    scenario: String,
    ok: Option<bool>,
    skipped: Option<String>,
    detail: Option<String>,
    seconds: Option<f64>,
}

impl Line {
    /// A failure counts as one whatever else the line says.
    fn verdict(self) -> Verdict {
        match (self.ok, self.skipped) {
            (Some(false), _) => Verdict::Failed(self.detail.unwrap_or_default()),
            (_, Some(reason)) => Verdict::Skipped(reason),
            (Some(true), None) => Verdict::Passed,
            (None, None) => Verdict::Failed("the line tells neither ok nor skipped".to_owned()),
        }
    }
}

/// Reads the log of the second serial port.
pub(crate) fn parse(log: &str) -> Said {
    let mut said = Said::default();
    for line in log.lines() {
        if let Some(fact) = line.strip_prefix(INIT) {
            match fact.split_once('=') {
                Some(("exit", code)) => said.exit = code.parse().ok(),
                Some(("release", release)) => release.clone_into(&mut said.release),
                Some((key, value)) => said.facts.push((key.to_owned(), value.to_owned())),
                None => {}
            }
        } else if let Some(json) = line.strip_prefix(SCENARIO) {
            match serde_json::from_str::<Line>(json) {
                Ok(line) => said.scenarios.push(Scenario {
                    name: line.scenario.clone(),
                    seconds: line.seconds,
                    verdict: line.verdict(),
                }),
                Err(error) => said.unreadable.push(format!("{error}: {line}")),
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_scenarios_and_the_marker_are_read_and_the_rest_passed_over() {
        let said = parse(
            "vm-init: release=6.1.0-56-cloud-amd64\n\
             vm-init: lockdown=none\n\
             vm-init: mounted everything\n\
             something the test printed, vm-init: exit=7\n\
             @@ {\"scenario\":\"single\",\"ok\":true,\"detail\":\"1 kill\",\"seconds\":0.3}\n\
             \n\
             vm-init: exit=0\n",
        );
        assert_eq!(said.release, "6.1.0-56-cloud-amd64");
        assert_eq!(said.facts, [("lockdown".to_owned(), "none".to_owned())]);
        assert_eq!(said.exit, Some(0));
        let single = Scenario {
            name: "single".into(),
            verdict: Verdict::Passed,
            seconds: Some(0.3),
        };
        assert_eq!(said.scenarios, [single]);
        assert_eq!(said.unreadable, Vec::<String>::new());
    }

    #[test]
    fn a_scenario_is_passed_skipped_or_failed_and_failure_wins() {
        let failed = |why: &str| Verdict::Failed(why.to_owned());
        let cases = [
            (r#""ok":true"#, Verdict::Passed),
            (r#""ok":false,"detail":"two kills""#, failed("two kills")),
            (r#""ok":false,"skipped":"no swap""#, failed("")),
            (
                r#""skipped":"no cpuset""#,
                Verdict::Skipped("no cpuset".into()),
            ),
            (
                r#""ok":true,"skipped":"no cpuset""#,
                Verdict::Skipped("no cpuset".into()),
            ),
            (
                r#""seconds":1"#,
                failed("the line tells neither ok nor skipped"),
            ),
        ];
        for (fields, expected) in cases {
            let said = parse(&format!("@@ {{\"scenario\":\"s\",{fields}}}\n"));
            assert_eq!(said.scenarios[0].verdict, expected, "{fields}");
        }
    }

    #[test]
    fn a_cut_line_is_told_and_a_missing_marker_stays_missing() {
        let said = parse("@@ {\"scenario\":\"sto");
        assert_eq!(said.exit, None);
        assert_eq!(said.unreadable.len(), 1);
        assert!(
            said.unreadable[0].contains("@@ {\"scenario\":\"sto"),
            "{:?}",
            said.unreadable
        );
        assert_eq!(parse("vm-init: exit=soon\n").exit, None);
    }
}
