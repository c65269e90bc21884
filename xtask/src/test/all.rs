//! What `cargo xtask test --all` runs besides the gate.

use std::ffi::OsStr;

#[cfg(feature = "full")]
pub(super) fn steps(run: &super::Run<'_>, path: &OsStr) {
    use crate::report::Outcome;
    use crate::{bench, compile, containers, fuzz, image};

    let filter = run.args.filter.as_deref();
    let built = compile::Built {
        oom_probe: run.programs.oom_probe.clone(),
        hog: run.programs.hog.clone(),
    };
    let report = &run.report;
    report.step("kernel messages", || run.messages(path));
    report.step("containers", || match super::real_oom_left_out(run.args) {
        Some(reason) => Outcome::Skipped(reason.into()),
        None => containers::outcome(&built, filter),
    });
    if filter.is_some() {
        return;
    }
    report.step("image archives", || image::check::outcome(&built));
    report.step("fuzz corpora", || Outcome::of(fuzz::corpora()));
    report.step(
        "smoke run of the benches",
        || match super::real_oom_left_out(run.args) {
            Some(reason) => Outcome::Skipped(reason.into()),
            None => Outcome::of(bench::smoke(&built)),
        },
    );
}

#[cfg(not(feature = "full"))]
pub(super) fn steps(_: &super::Run<'_>, _: &OsStr) {
    unreachable!("the whole xtask runs this")
}

/// Tests of the steps above, by their step.
#[cfg(feature = "full")]
pub(super) fn names() -> anyhow::Result<Vec<String>> {
    let containers = crate::containers::names().map(|name| format!("containers: {name}"));
    let fuzz = crate::fuzz::targets()?;
    let fuzz = fuzz.iter().map(|name| format!("fuzz corpora: {name}"));
    let rest = [
        "image archives",
        "kernel messages",
        "smoke run of the benches",
    ];
    Ok(containers
        .chain(fuzz)
        .chain(rest.map(String::from))
        .collect())
}

#[cfg(not(feature = "full"))]
pub(super) fn names() -> anyhow::Result<Vec<String>> {
    Ok(Vec::new())
}
