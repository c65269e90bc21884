//! `cargo xtask deploy`: makes anew what lies in `deploy/` and is made from something else there.

use anyhow::Result;

use crate::{cmd, tools};

/// Runs the tests that compare these files, telling them to write what differs.
///
/// # Errors
/// A file cannot be made: the test says why.
pub(crate) fn run() -> Result<()> {
    let path = tools::path();
    // Manifests are rendered from the copies: those come first.
    for tests in ["deploy::copies::", "deploy::render::"] {
        let mut cargo = cmd::cargo();
        cargo
            .args(["test", "--quiet", "--package", "oom-probe"])
            .args(["--test", "it", tests])
            .env("PATH", &path)
            .env("OOM_PROBE_DEPLOY_WRITE", "1");
        cmd::run(&mut cargo)?;
    }
    Ok(())
}
