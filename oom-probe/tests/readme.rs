//! The command line as README.md tells it.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use oom_probe::commands::Cli;

const README: &str = include_str!("../../README.md");

/// The part of the README that is about a subcommand, from its title on.
fn section(name: &str) -> &'static str {
    let title = format!("### `oom-probe {name}");
    let at = README.find(&title);
    let at = at.unwrap_or_else(|| panic!("README.md has no part about {name}"));
    README[at..].split("\n#").next().unwrap_or_default()
}

/// Words in code spans that look like this: `--flag VALUE` or `VARIABLE`.
fn words(text: &str, is_one: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let spans = text.split('`').skip(1).step_by(2);
    spans
        .filter_map(|span| span.split_whitespace().next())
        .filter(|word| is_one(word))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_flag_of_every_command_is_told_and_no_other() {
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let flags: BTreeSet<String> = command
            .get_arguments()
            .filter_map(|flag| flag.get_long())
            .filter(|flag| *flag != "help")
            .map(|flag| format!("--{flag}"))
            .collect();
        let told = words(section(name), |word| word.starts_with("--"));
        assert_eq!(told, flags, "oom-probe {name}");
    }
}

#[test]
fn every_variable_that_is_told_is_one() {
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let variables: BTreeSet<String> = command
            .get_arguments()
            .filter_map(|flag| flag.get_env()?.to_str().map(str::to_owned))
            .collect();
        let told = words(section(name), |word| {
            word.starts_with("OOM_PROBE_") || word == "NODE_NAME"
        });
        assert!(
            told.is_subset(&variables),
            "oom-probe {name}: {told:?} of {variables:?}"
        );
        if name == "run" {
            assert_eq!(told, variables);
        }
    }
}
