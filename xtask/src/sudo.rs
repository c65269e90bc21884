//! Becoming root for what takes root, after everything was built as the user.

use std::env;
use std::process::Command;

use crate::cmd;

/// The command itself for root; for others through sudo, saying why. The variables that the
/// programs read come along.
pub(crate) fn as_root(command: Command, why: &str) -> Command {
    if cmd::is_root() {
        return command;
    }
    eprintln!("not root, so through sudo: {why}");
    let mut sudo = Command::new("sudo");
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    if let Some(kept) = kept_variables(names) {
        sudo.arg(format!("--preserve-env={kept}"));
    }
    sudo.arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    sudo
}

fn kept_variables(names: impl Iterator<Item = String>) -> Option<String> {
    let ours = |name: &String| {
        ["OOM_PROBE_", "HOG_", "MEMORY_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || matches!(
                name.as_str(),
                "KUBECONFIG" | "NODE_NAME" | "NO_COLOR" | "RUST_LOG"
            )
    };
    let kept: Vec<_> = names.filter(ours).collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_programs_read_passes_through_sudo() {
        let names = [
            "PATH",
            "OOM_PROBE_LISTEN",
            "HOME",
            "KUBECONFIG",
            "LD_PRELOAD",
            "HOG_STEP",
        ];
        let kept = kept_variables(names.map(String::from).into_iter());
        assert_eq!(
            kept.as_deref(),
            Some("OOM_PROBE_LISTEN,KUBECONFIG,HOG_STEP")
        );
        assert_eq!(kept_variables(["PATH".to_owned()].into_iter()), None);
    }
}
