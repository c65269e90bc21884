//! What an Event says: of this kill, for people who may see this pod and no other.
//!
//! It names no other pod and no path of the host: whoever may read Events of one namespace learns
//! nothing of the rest of the node.

use std::fmt::Write;

use crate::{
    attribution::outcome::Settled,
    cgroup::path,
    model::{
        kill::{Kill, Trigger},
        labels::{Cause, Limit, Outcome, Role, VictimKind},
    },
    sinks::log::size,
};

/// `pkg/apis/core/validation/events.go`, `NoteLengthLimit`.
pub(crate) const MAX_NOTE: usize = 1024;
/// Bytes of a process's name: the kernel has 15, escaped at most 4 for each.
const MAX_COMM: usize = 60;

/// One sentence or a few.
pub(super) fn note(settled: &Settled, left_out: u32) -> String {
    let kill = &settled.kill.kill;
    let mut note = format!("The kernel's OOM killer killed {}", victim(kill));
    if let Some(more) = settled.kills.checked_sub(1).filter(|more| *more > 0) {
        let processes = if more == 1 { "process" } else { "processes" };
        let _ = write!(note, " and {more} more {processes} of this container");
    }
    let _ = write!(note, ": {}", limit(kill));
    if let Some(trigger) = kill.trigger.as_ref().and_then(|by| trigger(kill, by)) {
        let _ = write!(note, ", run into by {trigger}");
    }
    note.push_str(match settled.outcome {
        Outcome::Died => ". The container ended with it.",
        Outcome::Survived => ". The container did not end with it.",
    });
    if left_out > 0 {
        let were = if left_out == 1 {
            "event was"
        } else {
            "events were"
        };
        let _ = write!(
            note,
            " {left_out} more OOM {were} left out here since the last message."
        );
    }
    cut(note, MAX_NOTE)
}

fn victim(kill: &Kill) -> String {
    let victim = &kill.victim;
    let kind = match victim.kind {
        VictimKind::Init => "the main process ",
        VictimKind::Child | VictimKind::Unknown => "",
    };
    let comm = victim
        .comm
        .as_deref()
        .map(|comm| cut(comm.to_owned(), MAX_COMM));
    let mut text = format!("{kind}{}", comm.as_deref().unwrap_or("a process"));
    let mut facts = Vec::new();
    facts.extend(
        victim
            .ns_pid
            .map(|pid| format!("pid {pid} in the container")),
    );
    facts.extend(
        victim
            .anon_rss_bytes
            .map(|bytes| format!("anon {}", size(bytes))),
    );
    let shmem = victim.shmem_rss_bytes.filter(|bytes| *bytes > 0);
    facts.extend(shmem.map(|bytes| format!("shmem {}", size(bytes))));
    match kill.role {
        Role::Primary | Role::Group => {}
        Role::SharedMm => facts.push("shares the chosen victim's memory".to_owned()),
    }
    if !facts.is_empty() {
        let _ = write!(text, " ({})", facts.join(", "));
    }
    text
}

fn limit(kill: &Kill) -> String {
    let bytes = kill.domain.as_ref().and_then(|domain| domain.limit_bytes);
    let bytes = bytes.map(|bytes| format!(" of {}", size(bytes)));
    let bytes = bytes.as_deref().unwrap_or_default();
    let what = match kill.limit {
        Limit::Container => format!("the container's memory limit{bytes} was "),
        Limit::Pod => format!("the pod's memory limit{bytes} was "),
        Limit::Ancestor => "a memory limit above the pod was ".to_owned(),
        Limit::Node if kill.cause == Some(Cause::Sysrq) => {
            return "the administrator asked for a kill (SysRq)".to_owned();
        }
        Limit::Node => return "the node ran out of memory".to_owned(),
        Limit::Cpuset => return "the memory nodes of its cpuset ran out".to_owned(),
        Limit::Mempolicy => return "the memory nodes of its memory policy ran out".to_owned(),
        Limit::Unknown => return "which limit was hit is not known".to_owned(),
    };
    let how = match kill.cause {
        Some(Cause::LimitLowered) => "lowered below what was in use",
        Some(Cause::Charge | Cause::Sysrq) | None => "reached",
    };
    what + how
}

/// Who ran into the limit, if that is somebody else.
fn trigger(kill: &Kill, trigger: &Trigger) -> Option<String> {
    if trigger.pid == kill.victim.pid || kill.cause != Some(Cause::Charge) {
        return None;
    }
    if trigger.kernel_thread == Some(true) {
        return Some("the node".to_owned());
    }
    let path = trigger.cgroup.as_ref();
    let identity = path.map(|path| path::parse(path.names()));
    let same_pod = identity
        .as_ref()
        .is_some_and(|identity| identity.pod.is_some() && identity.pod == kill.identity.pod);
    if trigger.same_container == Some(true) || same_pod {
        let comm = trigger.comm.as_deref().unwrap_or("another process");
        let comm = cut(comm.to_owned(), MAX_COMM);
        return Some(if trigger.same_container == Some(true) {
            comm
        } else {
            format!("{comm} in another container of this pod")
        });
    }
    let other_pod = identity?.pod.is_some();
    Some(if other_pod { "another pod" } else { "the node" }.to_owned())
}

/// As much of a text as has room.
pub(crate) fn cut(mut text: String, bytes: usize) -> String {
    const MORE: &str = "…";
    if text.len() > bytes {
        let mut end = bytes - MORE.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MORE);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        kube::fixture::{container_path, uid},
        sinks::kube_events::fixture::settled,
    };

    fn said(outcome: Outcome, kills: u32, changes: &Value, left_out: u32) -> String {
        let mut settled = settled(outcome, kills, changes);
        let path = container_path(&uid(1), 1);
        settled.kill.kill.identity = path::from_path(path.as_bytes());
        note(&settled, left_out)
    }

    #[test]
    fn a_note_tells_what_was_killed_why_and_what_became_of_the_container() {
        for (outcome, kills, changes, left_out, expected) in [
            (
                Outcome::Survived,
                1,
                json!({}),
                0,
                "The kernel's OOM killer killed python3 (pid 27 in the container, anon 231.4 MiB): \
                 the container's memory limit of 256 MiB was reached. The container did not end \
                 with it.",
            ),
            (
                Outcome::Died,
                1,
                json!({"victim": {"kind": "init", "ns_pid": 1, "shmem_rss_bytes": 1_048_576}}),
                0,
                "The kernel's OOM killer killed the main process python3 (pid 1 in the container, \
                 anon 231.4 MiB, shmem 1 MiB): the container's memory limit of 256 MiB was \
                 reached. The container ended with it.",
            ),
            (
                Outcome::Died,
                8,
                json!({}),
                0,
                "The kernel's OOM killer killed python3 (pid 27 in the container, anon 231.4 MiB) \
                 and 7 more processes of this container: the container's memory limit of 256 \
                 MiB was reached. The container ended with it.",
            ),
            (
                Outcome::Survived,
                1,
                json!({"victim": {"comm": null, "ns_pid": null, "anon_rss_bytes": null}}),
                1,
                "The kernel's OOM killer killed a process: the container's memory limit of 256 MiB \
                 was reached. The container did not end with it. 1 more OOM event was left out here since the \
                 last message.",
            ),
            (
                Outcome::Survived,
                1,
                json!({"role": "shared_mm", "limit": "pod", "domain": {"limit_bytes": null}}),
                12,
                "The kernel's OOM killer killed python3 (pid 27 in the container, anon 231.4 MiB, \
                 shares the chosen victim's memory): the pod's memory limit was reached. The \
                 container did not end with it. 12 more OOM events were left out here since the last message.",
            ),
        ] {
            assert_eq!(said(outcome, kills, &changes, left_out), expected);
        }
    }

    #[test]
    fn the_limit_is_told_without_a_path_of_the_host() {
        for (changes, expected) in [
            (
                json!({"limit": "ancestor", "domain": {"path": "/kubepods.slice/secret"}}),
                "a memory limit above the pod was reached",
            ),
            (
                json!({"limit": "node", "domain": null}),
                "the node ran out of memory",
            ),
            (
                json!({"limit": "node", "cause": "sysrq"}),
                "the administrator asked for a kill (SysRq)",
            ),
            (
                json!({"limit": "cpuset"}),
                "the memory nodes of its cpuset ran out",
            ),
            (
                json!({"limit": "mempolicy"}),
                "the memory nodes of its memory policy ran out",
            ),
            (
                json!({"limit": "unknown"}),
                "which limit was hit is not known",
            ),
            (
                json!({"cause": "limit_lowered"}),
                "the container's memory limit of 256 MiB was lowered below what was in use",
            ),
        ] {
            let said = said(Outcome::Survived, 1, &changes, 0);
            assert!(said.contains(&format!(": {expected}. The")), "{said}");
            assert!(!said.contains('/') && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn only_a_trigger_of_the_same_pod_is_named() {
        let other = |cgroup: Value, same: Value| {
            json!({"trigger": {
                "pid": 9, "comm": "gunicorn", "cgroup": cgroup, "same_container": same,
            }})
        };
        let same_pod = container_path(&uid(1), 2);
        let other_pod = container_path(&uid(2), 3);
        for (changes, expected) in [
            (json!({}), None),
            (
                other(json!(container_path(&uid(1), 1)), json!(true)),
                Some("gunicorn"),
            ),
            (
                other(json!(same_pod), json!(false)),
                Some("gunicorn in another container of this pod"),
            ),
            (other(json!(other_pod), json!(false)), Some("another pod")),
            (
                other(json!("/system.slice/backup.service"), json!(false)),
                Some("the node"),
            ),
            (
                json!({"trigger": {"pid": 9, "comm": "kswapd0", "kernel_thread": true, "same_container": false}}),
                Some("the node"),
            ),
            // Nothing is known of where it is.
            (other(Value::Null, json!(false)), None),
        ] {
            let said = said(Outcome::Survived, 1, &changes, 0);
            match expected {
                Some(by) => assert!(said.contains(&format!(", run into by {by}. The")), "{said}"),
                None => assert!(!said.contains("run into"), "{said}"),
            }
            let names = ["gunicorn", "kswapd0", "backup"];
            let named = names.iter().any(|name| said.contains(name));
            assert_eq!(
                named,
                expected.is_some_and(|by| by.contains("gunicorn")),
                "{said}"
            );
        }
    }

    #[test]
    fn a_note_is_never_too_long() {
        let long = "\\u{202e}".repeat(1000);
        let changes = json!({"victim": {"comm": long}, "trigger": {"pid": 9, "comm": long}});
        let said = said(Outcome::Died, u32::MAX, &changes, u32::MAX);
        assert!(said.len() <= MAX_NOTE, "{}", said.len());
        assert!(said.contains("…"));
        assert!(said.ends_with("since the last message."));
    }
}
