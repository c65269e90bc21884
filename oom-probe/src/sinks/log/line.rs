//! A record as a line that a person can read.

use humansize::{BINARY, FormatSizeOptions, format_size};
use jiff::tz::TimeZone;

use capture::{
    model::{
        kill::{Kill, Record, Victim},
        labels::{Cause, Limit, Role, Scope, VictimKind},
    },
    sys::escape::{Escaped, escape},
};

/// Hex digits of a container id, as container tools show them.
const SHORT_ID: usize = 12;
/// Parts of the resident set below one in so many are not worth a place in the line.
const MINOR_SHARE: u64 = 10;

/// The record as one line without its end: when, whose, what, how large, why.
///
/// The time of day is `zone`'s; the date is in the records.
pub fn line(record: &Record, zone: &TimeZone) -> String {
    let Record { kill, .. } = record;
    let time = kill.time.to_zoned(zone.clone());
    let mut parts = vec![
        format!(
            "{} OOM kill {}",
            time.strftime("%H:%M:%S%.3f"),
            whose(record)
        ),
        process(kill),
    ];
    parts.extend(role(kill.role).map(str::to_owned));
    if kill.victim.is_unknown() {
        parts.push("seen in the container's counters only".into());
    }
    parts.extend(sizes(&kill.victim));
    parts.push(limit(record));
    parts.extend(trigger(kill));
    if kill.victim.kind == VictimKind::Child && is_in_container(record) {
        parts.push("PID 1 not hit".into());
    }
    parts.join("  ")
}

/// The container of a pod, else the container, unit or cgroup: the best name there is.
pub(crate) fn whose(record: &Record) -> String {
    let path = || Some(record.kill.cgroup.as_ref()?.path.as_ref()?.to_string());
    let name = pod(record).or_else(|| host(record)).or_else(path);
    match (record.scope, name) {
        (Scope::OtherNode, Some(name)) => format!("another node's {name}"),
        (Scope::OtherNode, None) => "another node's process".into(),
        (_, Some(name)) => name,
        (_, None) => "unknown cgroup".into(),
    }
}

fn pod(record: &Record) -> Option<String> {
    let pod = record.pod.as_ref()?;
    let container = match (&pod.container, &pod.container_id) {
        (Some(container), _) => format!("/{}", Escaped(container.as_bytes())),
        (None, Some(id)) => format!("/{}", short(id)),
        (None, None) => String::new(),
    };
    let [namespace, name] = [&pod.namespace, &pod.name].map(escaped);
    match (namespace, name, &pod.uid) {
        (Some(namespace), Some(name), _) => Some(format!("{namespace}/{name}{container}")),
        (None, Some(name), _) => Some(format!("{name}{container}")),
        (_, None, Some(uid)) => Some(format!("pod {uid}{container}")),
        (_, None, None) => {
            let id = pod.container_id.as_ref()?;
            Some(format!("container {}", short(id)))
        }
    }
}

/// A name as the API server has it, for people.
pub(crate) fn escaped(name: &Option<String>) -> Option<String> {
    name.as_ref().map(|name| escape(name.as_bytes()))
}

fn host(record: &Record) -> Option<String> {
    let host = record.host.as_ref()?;
    match (&host.container_id, &host.unit) {
        (Some(id), _) => Some(format!("container {}", short(id))),
        (None, unit) => unit.clone(),
    }
}

pub(crate) fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

fn process(kill: &Kill) -> String {
    let kind = match kill.victim.kind {
        VictimKind::Init => "init",
        VictimKind::Child => "child",
        VictimKind::Unknown => "process",
    };
    format!(
        "{kind} {}",
        named(kill.victim.comm.as_deref(), kill.victim.pid)
    )
}

/// `?` for a victim of which nothing is known.
pub(crate) fn named(comm: Option<&str>, pid: u32) -> String {
    match (comm, pid) {
        (Some(comm), _) => format!("{comm}[{pid}]"),
        (None, 0) => "?".to_owned(),
        (None, _) => format!("pid {pid}"),
    }
}

const fn role(role: Role) -> Option<&'static str> {
    match role {
        Role::Primary => None,
        Role::Group => Some("killed with its group"),
        Role::SharedMm => Some("killed for the memory it shares with a victim"),
    }
}

/// Anonymous memory always, and what else matters.
fn sizes(victim: &Victim) -> Option<String> {
    let parts = [
        ("anon", victim.anon_rss_bytes),
        ("file", victim.file_rss_bytes),
        ("shmem", victim.shmem_rss_bytes),
        ("swap", victim.swap_bytes),
    ];
    let total: u64 = parts.iter().filter_map(|(_, bytes)| *bytes).sum();
    let shown: Vec<String> = parts
        .into_iter()
        .filter_map(|(name, bytes)| Some((name, bytes?)))
        .filter(|(name, bytes)| *name == "anon" || *bytes > total / MINOR_SHARE)
        .map(|(name, bytes)| format!("{name} {}", size(bytes)))
        .collect();
    (!shown.is_empty()).then(|| shown.join(" "))
}

pub(crate) fn size(bytes: u64) -> String {
    format_size(bytes, FormatSizeOptions::from(BINARY).decimal_places(1))
}

fn limit(record: &Record) -> String {
    let kill = &record.kill;
    let domain = kill.domain.as_ref();
    let owner = match kill.limit {
        Limit::Node => return asked_for(kill).unwrap_or("node out of memory").into(),
        Limit::Cpuset => return "memory nodes of its cpuset exhausted".into(),
        Limit::Mempolicy => return "memory nodes of its memory policy exhausted".into(),
        Limit::Unknown => return asked_for(kill).unwrap_or("unknown limit hit").into(),
        Limit::Container if is_in_container(record) => "container limit",
        Limit::Container => "its limit",
        Limit::Pod => "pod limit",
        Limit::Ancestor => "limit",
    };
    let of = match (kill.limit, domain.and_then(|domain| domain.path.as_ref())) {
        (Limit::Ancestor, Some(path)) => format!(" of {path}"),
        (Limit::Ancestor, None) => " of an ancestor".into(),
        _ => String::new(),
    };
    let bytes = limit_bytes(kill).map(size);
    match (kill.cause, bytes) {
        (Some(Cause::LimitLowered), Some(bytes)) => format!("{owner}{of} lowered to {bytes}"),
        (Some(Cause::LimitLowered), None) => format!("{owner}{of} lowered"),
        (_, Some(bytes)) => format!("{owner} {bytes}{of} hit"),
        (_, None) => format!("{owner}{of} hit"),
    }
}

fn asked_for(kill: &Kill) -> Option<&'static str> {
    (kill.cause == Some(Cause::Sysrq)).then_some("asked for by SysRq")
}

/// The limit that was hit, where it is known to be that one.
pub(crate) fn limit_bytes(kill: &Kill) -> Option<u64> {
    let of_domain = kill.domain.as_ref().and_then(|domain| domain.limit_bytes);
    match kill.limit {
        // The nearest limit is the container's own.
        Limit::Container => of_domain.or_else(|| kill.cgroup.as_ref()?.limit_bytes),
        Limit::Pod | Limit::Ancestor => of_domain,
        Limit::Node | Limit::Cpuset | Limit::Mempolicy | Limit::Unknown => None,
    }
}

/// Who ran into the limit, if it was not the victim.
fn trigger(kill: &Kill) -> Option<String> {
    let trigger = kill.trigger.as_ref()?;
    if trigger.pid == kill.victim.pid {
        return None;
    }
    let name = named(trigger.comm.as_deref(), trigger.pid);
    Some(match trigger.same_container {
        Some(false) => format!("triggered by {name} elsewhere"),
        _ => format!("triggered by {name}"),
    })
}

/// Whether the victim ran in a container, a pod's or another.
pub(crate) fn is_in_container(record: &Record) -> bool {
    let on_host = record.host.as_ref();
    record.pod.is_some() || on_host.is_some_and(|host| host.container_id.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sinks::fixture;

    const ID: &str = "c0ffee5f00c0ffee5f00c0ffee5f00c0ffee5f00c0ffee5f00c0ffee5f00beef";

    fn lines(table: &[(Value, &str)]) {
        for (changes, expected) in table {
            assert_eq!(line(&fixture::from(changes), &TimeZone::UTC), *expected);
        }
    }

    #[test]
    fn a_kill_reads_as_a_sentence() {
        lines(&[
            (
                json!({}),
                "12:03:44.120 OOM kill shop/cart-7d9f8b6c5d-x2x9z/app  child python3[4711]  \
                 anon 231.4 MiB  container limit 256 MiB hit  PID 1 not hit",
            ),
            (
                json!({"victim": {"kind": "init"}, "role": "group"}),
                "12:03:44.120 OOM kill shop/cart-7d9f8b6c5d-x2x9z/app  init python3[4711]  \
                 killed with its group  anon 231.4 MiB  container limit 256 MiB hit",
            ),
            (
                json!({"role": "shared_mm", "victim": {"kind": "unknown"}, "limit": "node"}),
                "12:03:44.120 OOM kill shop/cart-7d9f8b6c5d-x2x9z/app  process python3[4711]  \
                 killed for the memory it shares with a victim  anon 231.4 MiB  node out of memory",
            ),
            (
                json!({"trigger": {"pid": 12, "comm": "node", "same_container": false},
                       "limit": "pod", "domain": {"limit_bytes": 536_870_912}}),
                "12:03:44.120 OOM kill shop/cart-7d9f8b6c5d-x2x9z/app  child python3[4711]  \
                 anon 231.4 MiB  pod limit 512 MiB hit  triggered by node[12] elsewhere  \
                 PID 1 not hit",
            ),
            (
                json!({"scope": "host", "pod": null, "host": {"unit": "nginx.service"},
                       "victim": {"kind": "unknown", "comm": "nginx"}}),
                "12:03:44.120 OOM kill nginx.service  process nginx[4711]  anon 231.4 MiB  \
                 its limit 256 MiB hit",
            ),
        ]);
    }

    fn part(changes: &Value, position: usize) -> String {
        let line = line(&fixture::from(changes), &TimeZone::UTC);
        line.split("  ").nth(position).unwrap().to_owned()
    }

    #[test]
    fn names_made_to_deceive_stay_in_their_place() {
        let hostile = "x\n\u{1b}[2J\u{202e}\\n";
        let shown = "x\\n\\x1b[2J\\u{202e}\\\\n";
        let pod = json!({"namespace": hostile, "name": hostile, "container": hostile});
        assert_eq!(
            part(&json!({ "pod": pod }), 0),
            format!("12:03:44.120 OOM kill {shown}/{shown}/{shown}")
        );
    }

    #[test]
    fn the_best_name_there_is() {
        let gone = json!({"namespace": null, "name": null, "container": null});
        let mut container_only = gone.clone();
        container_only["uid"] = Value::Null;
        for (changes, expected) in [
            (
                json!({ "pod": gone }),
                "pod 3b8a1c9e-5d2f-4c55-9d0a-0f4f4b2e8a11/5f00c0ffee5f",
            ),
            (json!({ "pod": container_only }), "container 5f00c0ffee5f"),
            (
                json!({"pod": {"container": "POD"}}),
                "shop/cart-7d9f8b6c5d-x2x9z/POD",
            ),
            (
                json!({"pod": {"container": null, "container_id": null}}),
                "shop/cart-7d9f8b6c5d-x2x9z",
            ),
            (
                json!({"pod": null, "host": {"unit": "docker.service", "container_id": ID}}),
                "container c0ffee5f00c0",
            ),
            (
                json!({"pod": null, "host": {}, "cgroup": {"path": "/oom-probe-hog-7"}}),
                "/oom-probe-hog-7",
            ),
            (
                json!({"pod": null, "scope": "other_node", "cgroup": {"path": "/kubelet/x"}}),
                "another node's /kubelet/x",
            ),
            (
                json!({"pod": null, "scope": "other_node", "cgroup": null}),
                "another node's process",
            ),
            (
                json!({"pod": null, "scope": "unknown", "cgroup": null}),
                "unknown cgroup",
            ),
        ] {
            assert_eq!(
                part(&changes, 0),
                format!("12:03:44.120 OOM kill {expected}")
            );
        }
    }

    #[test]
    fn the_sizes_that_matter() {
        for (victim, expected) in [
            (
                json!({"shmem_rss_bytes": 104_857_600}),
                "anon 231.4 MiB shmem 100 MiB",
            ),
            (
                json!({"anon_rss_bytes": 4096, "shmem_rss_bytes": 104_857_600}),
                "anon 4 KiB shmem 100 MiB",
            ),
            (
                json!({"swap_bytes": 1_073_741_824}),
                "anon 231.4 MiB swap 1 GiB",
            ),
            (
                json!({"anon_rss_bytes": 0, "file_rss_bytes": 0}),
                "anon 0 B",
            ),
            (
                json!({"file_rss_bytes": null, "shmem_rss_bytes": null}),
                "anon 231.4 MiB",
            ),
        ] {
            assert_eq!(part(&json!({ "victim": victim }), 2), expected);
        }
        let none = json!({"victim": {"anon_rss_bytes": null, "file_rss_bytes": null,
                                     "shmem_rss_bytes": null, "swap_bytes": null}});
        assert_eq!(part(&none, 2), "container limit 256 MiB hit");
    }

    #[test]
    fn the_limit_that_was_hit() {
        let slice = json!({"path": "/kubepods/burstable", "limit_bytes": 4_294_967_296_u64});
        let host = json!({"container_id": ID});
        for (changes, expected) in [
            (json!({"domain": null}), "container limit 256 MiB hit"),
            (
                json!({"domain": null, "cgroup": null}),
                "container limit hit",
            ),
            (
                json!({"pod": null, "host": host}),
                "container limit 256 MiB hit",
            ),
            (json!({"limit": "pod", "domain": null}), "pod limit hit"),
            (
                json!({"limit": "ancestor", "domain": slice}),
                "limit 4 GiB of /kubepods/burstable hit",
            ),
            (
                json!({"limit": "ancestor", "domain": null}),
                "limit of an ancestor hit",
            ),
            (
                json!({"cause": "limit_lowered"}),
                "container limit lowered to 256 MiB",
            ),
            (
                json!({"limit": "pod", "domain": null, "cause": "limit_lowered"}),
                "pod limit lowered",
            ),
            (
                json!({"limit": "node", "cause": "sysrq"}),
                "asked for by SysRq",
            ),
            (
                json!({"limit": "cpuset"}),
                "memory nodes of its cpuset exhausted",
            ),
            (
                json!({"limit": "mempolicy"}),
                "memory nodes of its memory policy exhausted",
            ),
            (json!({"limit": "unknown"}), "unknown limit hit"),
        ] {
            assert_eq!(part(&changes, 3), expected);
        }
    }

    #[test]
    fn times_are_of_the_given_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert!(line(&fixture::pod_child(), &zone).starts_with("14:03:44.120 "));
    }
}
