//! Runs other programs: in the open, or quietly until they fail.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, iter, thread};

use anyhow::{Context as _, Result, bail};

/// The repository's root, wherever xtask is called from.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    // A relative one is relative to where cargo runs.
    workspace().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The cargo that runs xtask, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    // ring's build script watches these variables. With xtask's own values in them, each change
    // between `cargo xtask` and plain cargo would compile ring and all above it again.
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR")
        {
            command.env_remove(name);
        }
    }
    command
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| {
            Path::new(part)
                .file_name()
                .filter(|_| part == command.get_program())
                .unwrap_or(part)
        })
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Shows and runs the command, its output included.
///
/// # Errors
/// It could not be started, or did not succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let status = command
        .status()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", named(command));
    }
    Ok(())
}

/// The program and what it was to do, where the whole command was shown before.
fn named(command: &Command) -> String {
    let whole = shown(command);
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Between two signs of life of a command that is run quietly.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Runs the command and shows its output only if it fails; says now and then that it still runs.
///
/// # Errors
/// It could not be started, or did not succeed.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    let began = Instant::now();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = loop {
        match receiver.recv_timeout(SIGN_OF_LIFE) {
            Ok(output) => break output?,
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("  {} s: {}", began.elapsed().as_secs(), named(command));
            }
            Err(RecvTimeoutError::Disconnected) => bail!("`{}` got lost", named(command)),
        }
    };
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("`{}` failed: {}", shown(command), output.status);
    }
    Ok(())
}

/// What a question to another program was answered; none where it is missing or says no.
pub(crate) fn answer(program: impl AsRef<Path>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program.as_ref())
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program lies on the PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
