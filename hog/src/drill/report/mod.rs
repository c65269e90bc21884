//! The post-mortem: `report.md`, `memory.svg` and `drill.json`.

mod curve;
mod markdown;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::criteria::{Criterion, Finding, Verdict};
use super::evidence::Evidence;

const REPORT: &str = "report.md";
const CURVE: &str = "memory.svg";
const DATA: &str = "drill.json";

/// What `drill.json` holds.
#[derive(Serialize)]
struct Data<'a> {
    verdict: Verdict,
    criteria: &'a [Criterion],
    #[serde(flatten)]
    evidence: &'a Evidence,
}

/// Where a report goes if nobody says.
pub(super) fn directory(began: Timestamp) -> PathBuf {
    PathBuf::from(began.strftime("drill-%Y%m%d-%H%M%S").to_string())
}

/// Writes the three files.
pub(super) fn write(
    directory: &Path,
    evidence: &Evidence,
    criteria: &[Criterion],
    verdict: Verdict,
) -> Result<()> {
    let data = serde_json::to_string(&Data {
        verdict,
        criteria,
        evidence,
    })?;
    let files = [
        (REPORT, markdown::render(evidence, criteria, verdict)),
        (CURVE, curve::render(evidence)),
        (DATA, data + "\n"),
    ];
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, text) in files {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The verdict for a terminal.
pub(super) fn terminal(evidence: &Evidence, criteria: &[Criterion], verdict: Verdict) -> String {
    let mut lines = Vec::new();
    for Criterion { name, finding } in criteria {
        let (word, detail) = shown(finding);
        lines.push(format!("{word:<11} {name}: {detail}"));
    }
    for gap in &evidence.gaps {
        lines.push(format!("{:<11} {gap}", "note"));
    }
    lines.push(format!("drill {}", word(verdict)));
    lines.join("\n")
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "FAILED",
    }
}

fn shown(finding: &Finding) -> (&'static str, &str) {
    match finding {
        Finding::Met(detail) => ("ok", detail),
        Finding::Missed(detail) => ("MISSED", detail),
        Finding::NotChecked(why) => ("not checked", why),
    }
}
