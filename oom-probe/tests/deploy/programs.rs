//! Programs that no toolchain brings.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `deploy/`.
pub(crate) fn deploy() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy"))
}

/// The program, or none and a line that says what is skipped.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let found = env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: no {name} on the PATH; `cargo xtask tools` gets it and prints where");
    }
    found
}

/// What the command prints.
///
/// # Panics
/// It fails: with what it said.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program was found");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}
