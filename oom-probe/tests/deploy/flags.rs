//! Whether the daemon accepts what the manifests tell it.

use clap::{CommandFactory as _, Parser as _};
use oom_probe::cli::Cli;
use serde_json::Value;

use crate::objects::{committed, pod_specs};

const IMAGE: &str = "ghcr.io/oom-probe/oom-probe:";

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

#[test]
fn every_flag_in_the_manifests_is_one_of_the_daemon() {
    for (file, container) in containers() {
        let arguments: Vec<_> = container["args"]
            .as_array()
            .expect("each container says what to do")
            .iter()
            .map(|argument| argument.as_str().expect("an argument is text"))
            .collect();
        let all = ["oom-probe"].iter().chain(&arguments);
        if let Err(error) = Cli::try_parse_from(all) {
            panic!("{file}: {arguments:?}: {error}");
        }
    }
}

#[test]
fn every_variable_in_the_manifests_is_one_of_the_daemon() {
    let command = Cli::command();
    let known: Vec<_> = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .filter_map(|argument| argument.get_env()?.to_str())
        .collect();
    for (file, container) in containers() {
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().expect("a variable has a name");
            assert!(known.contains(&name), "{file}: {name} is none of {known:?}");
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
