//! Whether the daemon accepts what the manifests tell it.

use clap::{CommandFactory as _, Parser as _};
use oom_probe::commands::Cli;
use serde_json::Value;

use super::objects::{committed, pod_specs};

const IMAGE: &str = "localhost/oom-probe:";

/// Containers of the probe's image, over all committed manifests.
fn containers() -> Vec<(String, Value)> {
    let manifests = committed();
    let specs = manifests
        .iter()
        .flat_map(|(file, objects)| pod_specs(objects).map(move |(_, spec)| (file, spec)));
    let containers: Vec<_> = specs
        .flat_map(|(file, spec)| {
            ["initContainers", "containers"]
                .into_iter()
                .filter_map(|list| spec[list].as_array())
                .flatten()
                .map(|container| (file.clone(), container.clone()))
        })
        .filter(|(_, container)| {
            let image = container["image"].as_str();
            image.is_some_and(|image| image.starts_with(IMAGE))
        })
        .collect();
    assert!(containers.len() > 4, "{} containers", containers.len());
    containers
}

/// What a container's variables come to as flags of its command.
fn as_flags(command: &str, container: &Value) -> Vec<String> {
    let cli = Cli::command();
    let command = cli.find_subcommand(command).expect("it is a command");
    let variables = container["env"].as_array().into_iter().flatten();
    variables
        .map(|variable| {
            let name = variable["name"].as_str().expect("a variable has a name");
            let argument = command
                .get_arguments()
                .find(|argument| argument.get_env().is_some_and(|env| env == name))
                .unwrap_or_else(|| panic!("{name} is no variable of this command"));
            let long = argument.get_long().expect("flags have long names");
            // What comes from the downward API is a name.
            let value = variable["value"].as_str().unwrap_or("node-1");
            format!("--{long}={value}")
        })
        .collect()
}

#[test]
fn the_daemon_takes_every_flag_and_variable_in_the_manifests() {
    for (file, container) in containers() {
        let arguments: Vec<_> = container["args"]
            .as_array()
            .expect("each container says what to do")
            .iter()
            .map(|argument| argument.as_str().expect("an argument is text").to_owned())
            .collect();
        let variables = as_flags(&arguments[0], &container);
        let all = ["oom-probe".to_owned()]
            .into_iter()
            .chain(arguments)
            .chain(variables);
        let all: Vec<_> = all.collect();
        if let Err(error) = Cli::try_parse_from(&all) {
            panic!("{file}: {all:?}: {error}");
        }
    }
}

#[test]
fn the_image_is_of_this_version_and_never_latest() {
    let image = format!("{IMAGE}{}", env!("CARGO_PKG_VERSION"));
    for (file, container) in containers() {
        assert_eq!(container["image"], image.as_str(), "{file}");
    }
}
