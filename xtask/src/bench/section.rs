//! What is shown: tables with a word before and after, for a terminal and for the documentation.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde::{Deserialize, Serialize};

/// One table of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Section {
    title: String,
    intro: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

/// The most that a figure may be (design, "Budgets").
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) most: f64,
    pub(super) text: &'static str,
}

impl Section {
    /// Figures, each beside its budget.
    pub(super) fn figures(title: &str, intro: &str) -> Self {
        Self::table(title, intro, &["what", "measured", "budget", ""])
    }

    pub(super) fn table(title: &str, intro: &str, header: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            intro: intro.to_owned(),
            header: header.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    /// A figure without a budget.
    pub(super) fn figure(&mut self, what: &str, measured: impl Into<String>) {
        self.row([
            what.to_owned(),
            measured.into(),
            String::new(),
            String::new(),
        ]);
    }

    /// A figure whose `value`, in the budget's unit, is held against it.
    pub(super) fn judged(
        &mut self,
        what: &str,
        measured: impl Into<String>,
        value: f64,
        budget: Budget,
    ) {
        let verdict = if value <= budget.most {
            "met"
        } else {
            "**missed**"
        };
        self.row([
            what.to_owned(),
            measured.into(),
            budget.text.to_owned(),
            verdict.to_owned(),
        ]);
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Puts it under another heading: where something else was measured in the same way.
    pub(super) fn headed(self, title: String, intro: String) -> Self {
        Self {
            title,
            intro,
            ..self
        }
    }

    /// A paragraph below the table.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(super) fn terminal(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::ASCII_MARKDOWN)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(&self.header);
        for row in &self.rows {
            table.add_row(row);
        }
        let notes = self.notes.join("\n");
        // A table without rows would be a line of its own.
        let table = if self.rows.is_empty() {
            String::new()
        } else {
            format!("{table}\n")
        };
        format!("\n{}\n\n{table}{notes}\n", self.title)
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n", self.title, self.intro);
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        if !self.rows.is_empty() {
            let _ = write!(
                text,
                "\n{}|{}\n",
                line(&self.header),
                "---|".repeat(self.header.len())
            );
            for row in &self.rows {
                let escaped: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
                text += &line(&escaped);
            }
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_held_against_its_budget() {
        let mut section = Section::figures("Start", "How long.");
        let budget = Budget {
            most: 40.0,
            text: "40 ms",
        };
        section.judged("armed", "40 ms", 40.0, budget);
        section.judged("armed late", "41 ms", 41.0, budget);
        section.figure("a|b", "1");
        section.note("Said below.");
        assert_eq!(
            section.markdown(),
            "## Start\n\nHow long.\n\n\
             | what | measured | budget |  |\n|---|---|---|---|\n\
             | armed | 40 ms | 40 ms | met |\n\
             | armed late | 41 ms | 40 ms | **missed** |\n\
             | a\\|b | 1 |  |  |\n\nSaid below.\n"
        );
    }
}
