//! What the victim was in its container: its init, or another process.

use jiff::{SignedDuration, Timestamp};

use crate::kube::pod::{PidNamespace, Run};
use capture::model::{kill::Kill, labels::VictimKind};

/// How far the start of a container's init may be from the container's `startedAt`.
const STARTS_WITHIN: SignedDuration = SignedDuration::from_secs(1);
/// `startedAt` is cut to the second.
const STARTED_AT_STEP: SignedDuration = SignedDuration::from_secs(1);

/// What is known of the victim's container.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Container<'a> {
    /// Whose processes it sees; absent where the pod is not known.
    pub(crate) pid_namespace: Option<PidNamespace>,
    /// The run that the victim was part of.
    pub(crate) run: Option<&'a Run>,
}

/// Tells `init` from `child`. Where both stay possible it is `unknown`.
///
/// | in its PID namespace | parent | the namespace is | then |
/// |---|---|---|---|
/// | pid 1 | in the container | | `child`: init of a namespace made inside |
/// | pid 1 | outside | | `init` |
/// | pid 1 | not known | child of the initial one | `init` |
/// | another | | the container's own | `child` |
/// | another, or not known | in the container | shared, or not known | `child` |
/// | another, or not known | outside | shared, or not known | `init` if it started with the container, else `child`: an exec'd process or an orphan |
pub(crate) fn kind(kill: &Kill, container: Container<'_>) -> VictimKind {
    if kill.identity.container.is_none() {
        return VictimKind::Unknown;
    }
    let victim = &kill.victim;
    let level = victim.pid_ns.map_or(0, |namespace| namespace.level);
    match (victim.ns_pid, parent(kill)) {
        (Some(1), Parent::Inside) if level > 0 => VictimKind::Child,
        (Some(1), Parent::Outside) if level > 0 => VictimKind::Init,
        (Some(1), Parent::Unknown) if level == 1 => VictimKind::Init,
        (Some(2..), _) if level > 0 && container.pid_namespace == Some(PidNamespace::Container) => {
            VictimKind::Child
        }
        (_, Parent::Inside) => VictimKind::Child,
        (_, Parent::Outside) => by_start(victim.start_time, container.run),
        (_, Parent::Unknown) => VictimKind::Unknown,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parent {
    Inside,
    Outside,
    Unknown,
}

/// Where the victim's parent is. Only the victim's own line of cgroups is known, so that a parent
/// in another cgroup below the container's looks like one outside of it.
fn parent(kill: &Kill) -> Parent {
    let (Some(parent), Some(container)) = (kill.victim.parent_memcg, kill.identity.container_level)
    else {
        return Parent::Unknown;
    };
    match kill.cgroup_ids.iter().position(|id| *id == parent) {
        Some(level) if level <= container => Parent::Inside,
        Some(_) => Parent::Outside,
        None if container == 0 => Parent::Outside,
        None => Parent::Unknown,
    }
}

fn by_start(start: Option<Timestamp>, run: Option<&Run>) -> VictimKind {
    let (Some(start), Some(started_at)) = (start, run.and_then(|run| run.started_at)) else {
        return VictimKind::Unknown;
    };
    let after = start.duration_since(started_at);
    if -STARTS_WITHIN <= after && after < STARTED_AT_STEP + STARTS_WITHIN {
        VictimKind::Init
    } else {
        VictimKind::Child
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::fixture::kill_in;
    use capture::model::kill::PidNamespace as KernelPidNamespace;

    const STARTED_AT: &str = "2025-11-20T12:00:10Z";

    struct Case {
        ns_pid: Option<u32>,
        level: Option<u32>,
        parent: Option<u64>,
        shares: Option<PidNamespace>,
        started: Option<&'static str>,
    }

    /// Pid 2 of a private namespace; the parent is not known.
    const CASE: Case = Case {
        ns_pid: Some(2),
        level: Some(1),
        parent: None,
        shares: Some(PidNamespace::Container),
        started: None,
    };
    /// Ids of the victim's cgroups in [`kill_in`]: the container's, its pod's, one elsewhere.
    const CONTAINER: Option<u64> = Some(100);
    const POD: Option<u64> = Some(101);
    const ELSEWHERE: Option<u64> = Some(999);

    fn kind_of(case: &Case, path: &str) -> VictimKind {
        let mut kill = kill_in(path);
        kill.victim.ns_pid = case.ns_pid;
        kill.victim.pid_ns = case
            .level
            .map(|level| KernelPidNamespace { level, inum: 7 });
        kill.victim.parent_memcg = case.parent;
        kill.victim.start_time = case.started.map(|time| time.parse().unwrap());
        let run = Run {
            id: kill.identity.container.unwrap(),
            started_at: Some(STARTED_AT.parse().unwrap()),
            finished_at: None,
            exit_code: None,
        };
        let container = Container {
            pid_namespace: case.shares,
            run: Some(&run),
        };
        kind(&kill, container)
    }

    #[test]
    fn init_is_told_from_child_and_doubt_from_both() {
        use VictimKind::{Child, Init, Unknown};
        let private = Some(PidNamespace::Container);
        let pod = Some(PidNamespace::Pod);
        let node = Some(PidNamespace::Node);
        let at_start = Some("2025-11-20T12:00:10.4Z");
        let later = Some("2025-11-20T12:03:00Z");
        let path = crate::kube::fixture::container_path(&crate::kube::fixture::uid(1), 1);
        for (name, case, expected) in [
            (
                "pid 1, started by the shim",
                Case {
                    ns_pid: Some(1),
                    parent: ELSEWHERE,
                    ..CASE
                },
                Init,
            ),
            (
                "pid 1 of a namespace made in the container",
                Case {
                    ns_pid: Some(1),
                    level: Some(2),
                    parent: CONTAINER,
                    ..CASE
                },
                Child,
            ),
            (
                "pid 1, in a node that is a container",
                Case {
                    ns_pid: Some(1),
                    level: Some(2),
                    parent: ELSEWHERE,
                    ..CASE
                },
                Init,
            ),
            (
                "pid 1, parent not known",
                Case {
                    ns_pid: Some(1),
                    ..CASE
                },
                Init,
            ),
            (
                "pid 1, deeper, parent not known",
                Case {
                    ns_pid: Some(1),
                    level: Some(2),
                    ..CASE
                },
                Unknown,
            ),
            ("another pid of a private namespace", CASE, Child),
            (
                "exec'd into a private namespace",
                Case {
                    parent: ELSEWHERE,
                    started: at_start,
                    ..CASE
                },
                Child,
            ),
            (
                "pod's namespace, parent in the container",
                Case {
                    shares: pod,
                    parent: CONTAINER,
                    ..CASE
                },
                Child,
            ),
            (
                "pod's namespace, container's first process",
                Case {
                    shares: pod,
                    parent: ELSEWHERE,
                    started: at_start,
                    ..CASE
                },
                Init,
            ),
            (
                "pod's namespace, parent in the pod's own cgroup",
                Case {
                    shares: pod,
                    parent: POD,
                    started: at_start,
                    ..CASE
                },
                Init,
            ),
            (
                "pod's namespace, exec'd later",
                Case {
                    shares: pod,
                    parent: ELSEWHERE,
                    started: later,
                    ..CASE
                },
                Child,
            ),
            (
                "pod's namespace, start not known",
                Case {
                    shares: pod,
                    parent: ELSEWHERE,
                    ..CASE
                },
                Unknown,
            ),
            (
                "pod's namespace, nothing else known",
                Case {
                    shares: pod,
                    ..CASE
                },
                Unknown,
            ),
            (
                "hostPID, container's first process",
                Case {
                    ns_pid: Some(4711),
                    level: Some(0),
                    shares: node,
                    parent: ELSEWHERE,
                    started: at_start,
                },
                Init,
            ),
            (
                "hostPID, child",
                Case {
                    ns_pid: Some(4712),
                    level: Some(0),
                    shares: node,
                    parent: CONTAINER,
                    started: at_start,
                },
                Child,
            ),
            (
                "level 0 whatever the pod says",
                Case {
                    level: Some(0),
                    shares: private,
                    ..CASE
                },
                Unknown,
            ),
            (
                "no namespace known",
                Case {
                    ns_pid: None,
                    level: None,
                    ..CASE
                },
                Unknown,
            ),
            (
                "pod not known",
                Case {
                    shares: None,
                    ..CASE
                },
                Unknown,
            ),
            (
                "pod not known, parent in the container",
                Case {
                    shares: None,
                    parent: CONTAINER,
                    ..CASE
                },
                Child,
            ),
        ] {
            assert_eq!(kind_of(&case, &path), expected, "{name}");
        }
    }

    #[test]
    fn started_at_is_compared_with_its_own_precision() {
        let path = crate::kube::fixture::container_path(&crate::kube::fixture::uid(1), 1);
        for (started, expected) in [
            ("2025-11-20T12:00:08.999Z", VictimKind::Child),
            ("2025-11-20T12:00:09Z", VictimKind::Init),
            ("2025-11-20T12:00:10.999Z", VictimKind::Init),
            ("2025-11-20T12:00:11.999Z", VictimKind::Init),
            ("2025-11-20T12:00:12Z", VictimKind::Child),
        ] {
            let case = Case {
                shares: Some(PidNamespace::Pod),
                parent: ELSEWHERE,
                started: Some(started),
                ..CASE
            };
            assert_eq!(kind_of(&case, &path), expected, "{started}");
        }
    }

    #[test]
    fn below_the_container_a_parent_in_another_branch_is_neither_in_nor_out() {
        let path = crate::kube::fixture::container_path(&crate::kube::fixture::uid(1), 1)
            + "/system.slice/app.service";
        let shared = Case {
            shares: Some(PidNamespace::Pod),
            ..CASE
        };
        for (parent, expected) in [
            (Some(100), VictimKind::Child),
            (Some(102), VictimKind::Child),
            (Some(103), VictimKind::Unknown),
            (ELSEWHERE, VictimKind::Unknown),
        ] {
            assert_eq!(
                kind_of(&Case { parent, ..shared }, &path),
                expected,
                "{parent:?}"
            );
        }
    }

    #[test]
    fn outside_a_container_there_is_no_init() {
        let mut kill = kill_in("/system.slice/nginx.service");
        kill.victim.ns_pid = Some(1);
        assert_eq!(kind(&kill, Container::default()), VictimKind::Unknown);
    }
}
