//! Asking before harm.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use hog::units::format_size;

use super::adjust::Change;
use crate::failure::Usage;

/// What is about to happen.
pub(super) struct Question<'a> {
    pub(super) target: &'a str,
    pub(super) container: &'a str,
    pub(super) limit: u64,
    pub(super) changes: &'a [Change],
    pub(super) because: &'a str,
}

/// Asks on the terminal; an error unless the answer is yes.
pub(super) async fn ask(question: &Question<'_>) -> Result<()> {
    eprintln!("{}", text(question));
    if !io::stdin().is_terminal() {
        return Err(
            Usage("there is no terminal to ask on: say --yes if you mean it".to_owned()).into(),
        );
    }
    eprint!("hog: go on? [y/N] ");
    io::stderr().flush().context("cannot ask")?;
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = read.await.context("cannot ask")??;
    if is_yes(&answer) {
        Ok(())
    } else {
        bail!("nothing was done");
    }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

fn text(question: &Question<'_>) -> String {
    let Question {
        target,
        container,
        limit,
        changes,
        because,
    } = question;
    let mut text = format!(
        "hog: container {container} of one replica of {target} will be made to outgrow its limit of {}.\n\
         hog: {because}",
        format_size(*limit)
    );
    for change in *changes {
        text.push_str("\nhog: changed for it, and put back afterwards: ");
        text.push_str(&change.what);
    }
    if !changes.is_empty() {
        text.push_str("\nhog: each of these starts new pods, before and after.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        for (answer, yes) in [
            ("y\n", true),
            ("Yes\n", true),
            ("\n", false),
            ("", false),
            ("no\n", false),
            ("yellow\n", false),
        ] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }

    #[test]
    fn the_question_names_target_limit_reason_and_changes() {
        let changes = [Change {
            what: "replicas 1 → 2".to_owned(),
            patch: serde_json::Value::Null,
            undo: serde_json::Value::Null,
        }];
        let text = text(&Question {
            target: "Deployment shop/cart",
            container: "app",
            limit: 128 << 20,
            changes: &changes,
            because: "memory.oom.group is 1",
        });
        for part in ["shop/cart", "app", "128 MiB", "oom.group", "replicas 1 → 2"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
