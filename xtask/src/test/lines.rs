//! What test programs print, a line at a time: libtest's, and the real-OOM test's own.

/// How one test came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// A line that ends a test.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) verdict: Verdict,
    pub(super) seconds: Option<f64>,
    /// Why it was skipped, where the line says it.
    pub(super) reason: Option<String>,
}

/// Reads `test NAME ... ok <0.003s>` and `scenario NAME ... skipped (REASON) 0.00s`.
pub(super) fn ended(line: &str) -> Option<Ended> {
    let (rest, is_scenario) = match line.strip_prefix("scenario ") {
        Some(rest) => (rest, true),
        None => (line.strip_prefix("test ")?, false),
    };
    let (name, rest) = rest.split_once(" ... ")?;
    // libtest appends this to tests of a kind.
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    let (word, rest) = rest.split_once([' ', ',']).unwrap_or((rest, ""));
    let verdict = match word {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        "ignored" | "skipped" => Verdict::Skipped,
        _ => return None,
    };
    let (detail, took) = if is_scenario {
        rest.rsplit_once(' ').unwrap_or((rest, ""))
    } else {
        rest.rsplit_once('<').unwrap_or((rest, ""))
    };
    let reason = (verdict == Verdict::Skipped).then(|| {
        let detail = detail.trim();
        detail
            .strip_prefix('(')
            .and_then(|detail| detail.strip_suffix(')'))
            .unwrap_or(detail)
            .to_owned()
    });
    Some(Ended {
        name: name.to_owned(),
        verdict,
        seconds: took
            .trim_end_matches('>')
            .trim_end_matches('s')
            .parse()
            .ok(),
        reason,
    })
}

/// The test whose output begins with this line: `---- NAME stdout ----`.
pub(super) fn output_of(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// Why the test was skipped, as it printed itself.
pub(super) fn skipped(line: &str) -> Option<&str> {
    line.strip_prefix("skipped: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_that_ends_a_test_is_understood() {
        let cases = [
            (
                "test a::b ... ok <0.003s>",
                ("a::b", Verdict::Passed, Some(0.003), None),
            ),
            (
                "test a::b ... FAILED <12.500s>",
                ("a::b", Verdict::Failed, Some(12.5), None),
            ),
            (
                "test a - should panic ... ok <0.1s>",
                ("a", Verdict::Passed, Some(0.1), None),
            ),
            (
                "test a ... ignored, needs a disk",
                ("a", Verdict::Skipped, None, Some("needs a disk")),
            ),
            (
                "scenario pins: wiped ... ok (3 kills) 4.20s",
                ("pins: wiped", Verdict::Passed, Some(4.2), None),
            ),
            (
                "scenario group of 3 ... skipped (cgroup v1's) 0.00s",
                (
                    "group of 3",
                    Verdict::Skipped,
                    Some(0.0),
                    Some("cgroup v1's"),
                ),
            ),
            (
                "scenario single ... FAILED (1 kill (of 2): left: 1) 7.00s",
                ("single", Verdict::Failed, Some(7.0), None),
            ),
        ];
        for (line, (name, verdict, seconds, reason)) in cases {
            let expected = Ended {
                name: name.to_owned(),
                verdict,
                seconds,
                reason: reason.map(str::to_owned),
            };
            assert_eq!(ended(line), Some(expected), "{line}");
        }
        for line in ["", "test result: ok. 1 passed", "running 3 tests", "test x"] {
            assert_eq!(ended(line), None, "{line}");
        }
    }

    #[test]
    fn a_skipped_test_says_why_below_its_heading() {
        assert_eq!(output_of("---- a::b stdout ----"), Some("a::b"));
        assert_eq!(output_of("---- a::b stdout"), None);
        assert_eq!(
            skipped("skipped: no helm on the PATH"),
            Some("no helm on the PATH")
        );
        assert_eq!(skipped("is skipped: x"), None);
    }
}
