//! The diagnosis as tables to read.

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

use super::checks::Level;
use super::diagnosis::{Diagnosis, Rung, State};

/// Prints the diagnosis for a terminal of that many columns, with colours.
#[must_use]
pub fn render(diagnosis: &Diagnosis, width: u16) -> String {
    let mut checks = table(width);
    checks.set_header(["", "CHECK", "FOUND", "WHICH MEANS, OR WHAT TO DO"]);
    for check in &diagnosis.checks {
        checks.add_row([symbol(check.level), check.check, &check.value, &check.hint]);
    }
    let mut rungs = table(width);
    rungs.set_header(["HOOKS, BEST FIRST", "HERE", "WHY, OR WHAT RECORDS LACK"]);
    let mut last = None;
    for rung in shown(diagnosis) {
        // The same reason often stands against several hooks in a row.
        let repeated = rung.reason.is_some() && rung.reason == last;
        let why = if repeated {
            "as above".to_owned()
        } else {
            why(rung)
        };
        rungs.add_row([rung.hook.to_owned(), rung.state.to_string(), why]);
        last.clone_from(&rung.reason);
    }
    let verdict = paint(if diagnosis.captures {
        Level::Ok
    } else {
        Level::Failure
    });
    let text = format!(
        "{checks}\n\n{rungs}\n\n{verdict}{}{verdict:#}",
        diagnosis.verdict
    );
    coloured(&without_trailing_spaces(&text))
}

/// The hooks worth a line.
fn shown(diagnosis: &Diagnosis) -> impl Iterator<Item = &Rung> {
    let rungs = diagnosis.hooks.iter().chain(&diagnosis.contexts);
    rungs.filter(|rung| rung.state != State::Moot)
}

/// Tables fill each line to their width, which a narrower window would wrap.
fn without_trailing_spaces(text: &str) -> String {
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

fn table(width: u16) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    table
}

const LEVELS: [Level; 4] = [Level::Ok, Level::Note, Level::Warning, Level::Failure];

/// Stands for a level; found nowhere else in the tables.
const fn symbol(level: Level) -> &'static str {
    match level {
        Level::Ok => "✓",
        Level::Note => "•",
        Level::Warning => "▲",
        Level::Failure => "✗",
    }
}

const fn paint(level: Level) -> Style {
    let colour = match level {
        Level::Ok => AnsiColor::Green,
        Level::Note => AnsiColor::Blue,
        Level::Warning => AnsiColor::Yellow,
        Level::Failure => AnsiColor::Red,
    };
    colour.on_default()
}

/// Colours the symbols. Afterwards, since a table would count the codes as columns.
fn coloured(text: &str) -> String {
    LEVELS.into_iter().fold(text.to_owned(), |text, level| {
        let (symbol, paint) = (symbol(level), paint(level));
        text.replace(symbol, &format!("{paint}{symbol}{paint:#}"))
    })
}

fn why(rung: &Rung) -> String {
    rung.reason.clone().unwrap_or_else(|| {
        rung.losses
            .iter()
            .map(|lost| lost.what)
            .collect::<Vec<_>>()
            .join(", ")
    })
}
