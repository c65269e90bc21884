//! The daemon on a node full of pods: an example of oom-probe's measures it, which has the scripted
//! API server of the tests.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::cmd;

/// One figure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) measured: String,
    pub(super) budget: String,
}

/// Runs the example with this daemon.
///
/// # Errors
/// It cannot be built, or does not come to an end.
pub(super) fn measure(daemon: &Path) -> Result<Vec<Row>> {
    let mut cargo = cmd::cargo();
    cargo.args(["run", "--quiet", "--locked", "--package", "oom-probe"]);
    cargo.args(["--example", "full-node", "--"]).arg(daemon);
    let output = cargo.stderr(Stdio::inherit()).output();
    let output = output.context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`{}` failed: {}", cmd::shown(&cargo), output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(row).collect()
}

fn row(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [what, measured, budget] = fields[..] else {
        bail!("the example printed no figure but {line:?}");
    };
    Ok(Row {
        what: what.to_owned(),
        measured: measured.to_owned(),
        budget: budget.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_a_name_a_value_and_perhaps_a_budget() {
        let expected = Row {
            what: "series".into(),
            measured: "7".into(),
            budget: String::new(),
        };
        assert_eq!(row("series\t7\t").unwrap(), expected);
        assert!(row("series 7").is_err());
    }
}
