//! The images in a real container engine: the daemon with the DaemonSet's rights and mounts, and
//! real OOM kills beside it. Nothing of it is installed, and nothing stays.

mod api;
mod cluster;
mod container;
mod engine;
mod mount;
mod node;
mod pod;
mod programs;
mod scenarios;

use anyhow::Result;

use self::engine::Engine;
use self::programs::Programs;
use crate::compile::Built;
use crate::report::{Counts, Outcome};
use crate::{cmd, compile, image};

/// Which scenarios to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only scenarios whose name contains this
    filter: Option<String>,
}

/// `cargo xtask container-test`.
///
/// # Errors
/// The images cannot be built, containerd cannot run here, or a scenario failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let built = compile::build(&compile::Args::for_tests())?;
    match outcome(&built, args.filter.as_deref()) {
        Outcome::Passed | Outcome::Tests(Counts { failed: 0, .. }, None) => Ok(()),
        Outcome::Skipped(why) | Outcome::Failed(why) | Outcome::Tests(_, Some(why)) => {
            anyhow::bail!(why)
        }
        Outcome::Tests(Counts { failed, .. }, None) => anyhow::bail!("{failed} scenarios failed"),
    }
}

/// The names of all scenarios.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    scenarios::ALL.iter().map(|(name, _)| *name)
}

/// Runs the scenarios, or tells why they cannot run here.
pub(crate) fn outcome(built: &Built, filter: Option<&str>) -> Outcome {
    if !cmd::is_root() {
        return Outcome::Skipped("not root: running containers takes root".into());
    }
    let chosen: Vec<_> = scenarios::ALL
        .iter()
        .filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter)))
        .collect();
    if chosen.is_empty() {
        return Outcome::Tests(Counts::default(), None);
    }
    let engine = match Programs::find().and_then(Engine::start) {
        Ok(engine) => engine,
        Err(error) => return Outcome::Skipped(format!("{error:#}")),
    };
    let images = image::of_this_machine(built, &engine.path().join("images"));
    let images = images.and_then(|images| {
        engine.import(&images.oom_probe.path)?;
        engine.import(&images.hog.path)?;
        Ok(images)
    });
    let images = match images {
        Ok(images) => images,
        Err(error) => return Outcome::Failed(format!("{error:#}")),
    };
    let mut counts = Counts::default();
    for (name, scenario) in chosen {
        match scenario(&engine, &images) {
            Ok(()) => {
                counts.passed += 1;
                println!("test {name} ... ok");
            }
            Err(error) => {
                counts.failed += 1;
                println!("test {name} ... FAILED\n{error:#}");
            }
        }
    }
    Outcome::Tests(counts, None)
}
