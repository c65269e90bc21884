//! The matrix as text: a table for the terminal, and the generated section of the documentation.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, iter};

use anyhow::{Context, Result, bail};
use comfy_table::{ContentArrangement, Table, presets};

use super::matrix::{Cell, Matrix};
use super::serial::Verdict;

/// Marks the beginning of the generated section.
const BEGIN: &str = "<!-- matrix:begin -->";
/// Marks its end.
const END: &str = "<!-- matrix:end -->";

/// The table for a terminal.
pub(crate) fn terminal(matrix: &Matrix) -> String {
    let mut table = Table::new();
    // Full width even where the output is a file or a narrow window: a cut cell would say nothing.
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header(matrix));
    for (scenario, cells) in &matrix.rows {
        let words = cells.iter().map(|cell| match cell {
            Cell::Told(Verdict::Passed) => "ok",
            Cell::Told(Verdict::Skipped(_)) => "skipped",
            Cell::Told(Verdict::Failed(_)) => "FAILED",
            Cell::Missing => "MISSING",
        });
        table.add_row(iter::once(scenario.as_str()).chain(words));
    }
    let seconds = matrix
        .columns
        .iter()
        .map(|column| format!("{:.1}", column.seconds));
    table.add_row(iter::once("seconds".to_owned()).chain(seconds));
    table.to_string()
}

/// The generated section: the table, which kernels it was run on, and why something was skipped.
/// It holds no date and no duration, so that it changes only when a result does.
pub(crate) fn section(matrix: &Matrix) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    let head = header(matrix);
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for (scenario, cells) in &matrix.rows {
        let _ = write!(text, "| {scenario} |");
        for cell in cells {
            let shown = match cell {
                Cell::Told(Verdict::Passed) => "yes".to_owned(),
                Cell::Told(Verdict::Skipped(reason)) => {
                    format!("not run ({})", number(&mut reasons, reason))
                }
                Cell::Told(Verdict::Failed(_)) | Cell::Missing => "**no**".to_owned(),
            };
            let _ = write!(text, " {shown} |");
        }
        text.push('\n');
    }
    text.push_str("\nRun on:\n\n");
    for column in &matrix.columns {
        let _ = writeln!(text, "- {}: `{}`", column.machine, column.said.release);
    }
    if !reasons.is_empty() {
        text.push_str("\nNot run:\n\n");
        for (index, reason) in reasons.iter().enumerate() {
            let _ = writeln!(text, "{}. {reason}", index + 1);
        }
    }
    text
}

/// Puts a new section between the marks of a document.
///
/// # Errors
/// The document lacks a mark, or has them in the wrong order.
pub(crate) fn replace(document: &str, section: &str) -> Result<String> {
    let Some((before, rest)) = document.split_once(BEGIN) else {
        bail!("it has no {BEGIN}")
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("it has no {END} after {BEGIN}")
    };
    Ok(format!("{before}{BEGIN}\n{section}{END}{after}"))
}

/// Rewrites the generated section of a file.
///
/// # Errors
/// The file cannot be read or written, or lacks the marks.
pub(crate) fn write(file: &Path, matrix: &Matrix) -> Result<()> {
    let document = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let new = replace(&document, &section(matrix))
        .with_context(|| format!("cannot put the matrix into {}", file.display()))?;
    fs::write(file, new).with_context(|| format!("write {}", file.display()))
}

fn header(matrix: &Matrix) -> Vec<String> {
    let machines = matrix.columns.iter().map(|column| column.machine.clone());
    iter::once("scenario".to_owned()).chain(machines).collect()
}

/// The number of a reason, counted from 1; the same reason has one number.
fn number<'a>(reasons: &mut Vec<&'a str>, reason: &'a str) -> usize {
    let known = reasons.iter().position(|r| *r == reason);
    known.unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    }) + 1
}

#[cfg(test)]
mod tests {
    use super::super::matrix::tests::column;
    use super::*;

    fn sample() -> Matrix {
        let old = "vm-init: release=5.10.0-32\n\
                   @@ {\"scenario\":\"single\",\"ok\":true}\n\
                   @@ {\"scenario\":\"cpuset\",\"skipped\":\"one NUMA node\"}\n\
                   vm-init: exit=0\n";
        let new = "vm-init: release=6.1.0-56\n\
                   @@ {\"scenario\":\"single\",\"ok\":false,\"detail\":\"2 kills\"}\n\
                   vm-init: exit=1\n";
        Matrix::new(vec![column("5.10", old), column("6.1", new)])
    }

    #[test]
    fn the_terminal_table_shouts_what_is_wrong() {
        let rows: Vec<Vec<String>> = terminal(&sample())
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        assert_eq!(
            rows,
            [
                ["scenario", "5.10", "6.1"],
                ["single", "ok", "FAILED"],
                ["cpuset", "skipped", "MISSING"],
                ["seconds", "4.2", "4.2"],
            ]
        );
    }

    #[test]
    fn the_section_has_the_table_the_kernels_and_the_reasons() {
        assert_eq!(
            section(&sample()),
            "| scenario | 5.10 | 6.1 |\n\
             |---|---|---|\n\
             | single | yes | **no** |\n\
             | cpuset | not run (1) | **no** |\n\
             \n\
             Run on:\n\
             \n\
             - 5.10: `5.10.0-32`\n\
             - 6.1: `6.1.0-56`\n\
             \n\
             Not run:\n\
             \n\
             1. one NUMA node\n"
        );
    }

    #[test]
    fn one_reason_has_one_number() {
        let mut reasons = Vec::new();
        let numbers = ["a", "b", "a"].map(|reason| number(&mut reasons, reason));
        assert_eq!(numbers, [1, 2, 1]);
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let document = "# Compatibility\n<!-- matrix:begin -->\nold\n<!-- matrix:end -->\nrest\n";
        let new = replace(document, "new\n").unwrap();
        assert_eq!(
            new,
            "# Compatibility\n<!-- matrix:begin -->\nnew\n<!-- matrix:end -->\nrest\n"
        );
        assert_eq!(replace(&new, "new\n").unwrap(), new);
    }

    #[test]
    fn a_document_without_the_marks_is_refused() {
        let error = |document| replace(document, "new\n").unwrap_err().to_string();
        assert_eq!(error("text"), "it has no <!-- matrix:begin -->");
        assert_eq!(
            error("<!-- matrix:end --><!-- matrix:begin -->"),
            "it has no <!-- matrix:end --> after <!-- matrix:begin -->"
        );
    }
}
