//! `--help` of every command.

use clap::CommandFactory;
use oom_probe::commands::Cli;

use super::hold;

/// Columns of the terminal that it is printed on.
const WIDTH: usize = 100;

#[test]
fn help() {
    let mut text = String::new();
    add(Cli::command().term_width(WIDTH), &mut text);
    hold("help.txt", &text);
}

fn add(command: clap::Command, text: &mut String) {
    // What the variables are set to where the tests run is nobody's help.
    let mut command = command.mut_args(|flag| flag.hide_env_values(true));
    command.build();
    *text += &format!("{}\n", command.render_long_help());
    for command in command.get_subcommands() {
        add(command.clone(), text);
    }
}
