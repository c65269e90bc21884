//! The post-mortem as Markdown, for a wiki.

use std::fmt::Write;

use hog::units::format_size;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{CURVE, DATA, shown, word};
use crate::drill::criteria::{Criterion, Finding, Verdict, seconds};
use crate::drill::evidence::{Evidence, Expected, Moment};

pub(super) fn render(evidence: &Evidence, criteria: &[Criterion], verdict: Verdict) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut page, evidence, criteria, verdict);
    page
}

fn write(
    page: &mut String,
    evidence: &Evidence,
    criteria: &[Criterion],
    verdict: Verdict,
) -> std::fmt::Result {
    let target = &evidence.target;
    writeln!(page, "# OOM drill: {} — {}\n", target.name, word(verdict))?;
    writeln!(page, "{}\n", summary(evidence))?;
    writeln!(page, "![memory of each replica over time]({CURVE})\n")?;

    writeln!(page, "## Verdict: {}\n", word(verdict))?;
    writeln!(page, "| | criterion | found |\n|---|---|---|")?;
    for Criterion { name, finding } in criteria {
        let (word, detail) = shown(finding);
        let word = match finding {
            Finding::Missed(_) => format!("**{word}**"),
            Finding::Met(_) | Finding::NotChecked(_) => word.to_owned(),
        };
        writeln!(page, "| {word} | {name} | {} |", cell(detail))?;
    }

    writeln!(page, "\n## Timeline\n")?;
    writeln!(
        page,
        "| time (UTC) | after | replica | |\n|---|---|---|---|"
    )?;
    for Moment {
        at_ms,
        replica,
        what,
    } in &evidence.timeline
    {
        let replica = replica.as_deref().unwrap_or("");
        let time = clock(evidence.began, *at_ms);
        let what = cell(&what.to_string());
        writeln!(page, "| {time} | {} | {replica} | {what} |", after(*at_ms))?;
    }

    writeln!(page, "\n## What was done\n")?;
    facts(page, evidence)?;
    requests(page, evidence)?;
    kills(page, evidence)?;
    notes(page, evidence)?;
    writeln!(
        page,
        "\nWritten by `hog drill` {}; everything that was measured is in [{DATA}]({DATA}).",
        evidence.hog_version
    )
}

/// What happened, in a few sentences.
fn summary(evidence: &Evidence) -> String {
    let target = &evidence.target;
    let plan = &evidence.plan;
    let mut text = format!(
        "{} was asked for {} in steps of {}",
        target.victim,
        format_size(plan.allocate_bytes),
        format_size(plan.step_bytes)
    );
    if let Some(limit) = target.limit_bytes {
        let _ = write!(text, " under a limit of {}", format_size(limit));
    }
    text.push('.');
    if let Some(held) = evidence.allocation.iter().map(|point| point.bytes).max() {
        let _ = write!(text, " It got {}", format_size(held));
        text.push_str(match evidence.killed_at() {
            Some(_) => " before the kernel killed it.",
            None => " and was not killed.",
        });
    }
    match (evidence.downtime_ms(), plan.expected) {
        (Some(ms), _) => {
            let _ = write!(text, " It was ready again {} after the kill.", seconds(ms));
        }
        (None, Expected::Survives) if evidence.death().is_none() => {
            text.push_str(" Its container went on.");
        }
        (None, _) => text.push_str(" It was not ready again while the drill looked."),
    }
    let requests = &evidence.requests;
    let _ = write!(
        text,
        " Meanwhile {} of {} requests were served, and the service was never silent for more than {}.",
        requests.served,
        requests.served + requests.failed,
        seconds(requests.longest_silence_ms)
    );
    text
}

fn facts(page: &mut String, evidence: &Evidence) -> std::fmt::Result {
    let target = &evidence.target;
    let plan = &evidence.plan;
    writeln!(page, "| | |\n|---|---|")?;
    writeln!(page, "| began | {} |", whole_seconds(evidence.began))?;
    writeln!(
        page,
        "| target | {}, {} replicas |",
        target.name, target.replicas
    )?;
    writeln!(
        page,
        "| victim | {} on {} |",
        target.victim,
        cell(&target.node)
    )?;
    let limit = target.limit_bytes.map_or("none".to_owned(), format_size);
    writeln!(page, "| memory limit | {limit} |")?;
    if let Some(version) = target.cgroup_version {
        let group = match target.oom_group {
            Some(true) => "1",
            Some(false) => "0",
            None => "there is none",
        };
        writeln!(page, "| cgroup | v{version}, memory.oom.group: {group} |")?;
    }
    let steps = format!(
        "{} in steps of {}, one every {} ms",
        format_size(plan.allocate_bytes),
        format_size(plan.step_bytes),
        plan.interval_ms
    );
    writeln!(page, "| allocation | {steps} |")?;
    writeln!(page, "| expected | {} |\n", cell(&plan.because))
}

fn requests(page: &mut String, evidence: &Evidence) -> std::fmt::Result {
    let requests = &evidence.requests;
    writeln!(page, "## Requests\n\n| | |\n|---|---|")?;
    writeln!(page, "| served | {} |", requests.served)?;
    for (replica, served) in &requests.by_replica {
        writeln!(page, "| … by {replica} | {served} |")?;
    }
    writeln!(page, "| failed | {} |", requests.failed)?;
    let silence = seconds(requests.longest_silence_ms);
    writeln!(page, "| longest time without an answer | {silence} |")?;
    if !requests.failures.is_empty() {
        writeln!(page, "\nThe failures:\n")?;
        for failure in &requests.failures {
            writeln!(page, "- {} {}", after(failure.at_ms), plain(&failure.error))?;
        }
        let more = requests
            .failed
            .saturating_sub(requests.failures.len() as u64);
        if more > 0 {
            writeln!(page, "- and {more} more")?;
        }
    }
    Ok(())
}

fn kills(page: &mut String, evidence: &Evidence) -> std::fmt::Result {
    if evidence.kills.is_empty() {
        return Ok(());
    }
    writeln!(page, "\n## What oom-probe recorded\n")?;
    for kill in &evidence.kills {
        writeln!(page, "| | |\n|---|---|")?;
        for (name, value) in kill_rows(kill) {
            writeln!(page, "| {name} | {} |", cell(&value))?;
        }
        let json = serde_json::to_string_pretty(kill).unwrap_or_default();
        writeln!(
            page,
            "\n<details><summary>The whole record</summary>\n\n```json\n{json}\n```\n\n</details>"
        )?;
    }
    Ok(())
}

/// What a person looks for first. What the record does not have is left out.
fn kill_rows(kill: &Value) -> Vec<(&'static str, String)> {
    let text = |pointer: &str| kill.pointer(pointer)?.as_str().map(str::to_owned);
    let size = |pointer: &str| kill.pointer(pointer)?.as_u64().map(format_size);
    let victim = text("/victim/comm").map(|comm| {
        let pid = kill.pointer("/victim/pid").and_then(Value::as_u64);
        let kind = text("/victim/kind").filter(|kind| kind != "unknown");
        let kind = kind.unwrap_or_default();
        format!("{comm}[{}] {kind}", pid.unwrap_or(0))
            .trim_end()
            .to_owned()
    });
    let pod = text("/pod/name").map(|name| {
        let namespace = text("/pod/namespace").unwrap_or_default();
        let container = text("/pod/container").unwrap_or_default();
        format!("{namespace}/{name}, container {container}")
    });
    let rows = [
        ("time", text("/time")),
        ("victim", victim),
        ("pod", pod),
        ("anonymous memory", size("/victim/anon_rss_bytes")),
        ("limit that was hit", text("/limit")),
        (
            "its size",
            size("/domain/limit_bytes").or_else(|| size("/cgroup/limit_bytes")),
        ),
        (
            "usage then",
            size("/domain/usage_bytes").or_else(|| size("/cgroup/usage_bytes")),
        ),
        ("cgroup", text("/cgroup/path")),
        ("id", text("/id")),
    ];
    rows.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn notes(page: &mut String, evidence: &Evidence) -> std::fmt::Result {
    for (title, notes) in [
        ("What the drill changed", &evidence.changes),
        ("Other hands on the target", &evidence.interventions),
        ("What could not be read", &evidence.gaps),
    ] {
        if !notes.is_empty() {
            writeln!(page, "\n## {title}\n")?;
            for note in notes {
                writeln!(page, "- {}", plain(note))?;
            }
        }
    }
    Ok(())
}

fn clock(began: Timestamp, at_ms: u64) -> String {
    let after = SignedDuration::from_millis(i64::try_from(at_ms).unwrap_or(i64::MAX));
    let time = began.checked_add(after).unwrap_or(Timestamp::MAX);
    time.strftime("%H:%M:%S%.3f").to_string()
}

fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn after(at_ms: u64) -> String {
    format!("+{}.{:03} s", at_ms / 1000, at_ms % 1000)
}

/// Text in one line, in which Markdown sees no markup of its own.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => plain.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' => plain.extend(['\\', character]),
            _ => plain.push(character),
        }
    }
    plain
}

/// The same, for a table.
fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::criteria::{check, verdict};
    use crate::drill::evidence::What;
    use crate::drill::evidence::tests::passed;

    fn page(evidence: &Evidence) -> String {
        let criteria = check(evidence);
        render(evidence, &criteria, verdict(&criteria))
    }

    #[test]
    fn the_page_tells_the_story_from_summary_to_record() {
        let page = page(&passed());
        for part in [
            "# OOM drill: two local replicas — passed",
            "It was ready again 1.4 s after the kill.",
            "| ok | The container ended with exit code 137 | 137 |",
            "| 12:00:09.400 | +9.400 s | replica-0 | the kernel kills hog\\[4711\\] (oom-probe's record) |",
            "![memory of each replica over time](memory.svg)",
            "| served | 240 |",
            "| anonymous memory | 125 MiB |",
            "\"pid\": 4711",
        ] {
            assert!(page.contains(part), "{part}\n---\n{page}");
        }
        assert!(!page.contains("What could not be read"));
    }

    #[test]
    fn a_hostile_name_stays_text() {
        let mut evidence = passed();
        let error = "a|b\n# c <img> `d` [e](f)".to_owned();
        evidence.note(1, None, What::RequestFailed { error });
        let page = page(&evidence);
        assert!(
            page.contains("first failed request: a\\|b # c \\<img\\> \\`d\\` \\[e\\](f) |"),
            "{page}"
        );
    }
}
