//! Cgroups nested deeper than a record holds.

use oom_probe_common::record::{LEAF_LEVELS, ROOT_LEVELS, flag, level};

use super::*;
use crate::model::labels::LimitSource;

/// Levels below the container, all named alike.
const BELOW: usize = 40;
/// Where in a record is what stands for those that are left out.
const LEFT_OUT: usize = LEAF_LEVELS;
/// Where the container is in a record.
const CONTAINER_LEVEL: usize = LEFT_OUT + 1 + ROOT_LEVELS - CONTAINER.len();

/// A process far below a container, as the kernel programs tell it: unlimited everywhere.
fn deep() -> RecordBuilder {
    let names: Vec<_> = std::iter::repeat_n("job", BELOW).chain(CONTAINER).collect();
    RecordBuilder::mark(100).path(&names)
}

fn told(record: RecordBuilder) -> Kill {
    kill_of([RecordBuilder::signal(100), record])
}

/// Those levels held by an OOM event, counted from the leaf of the whole path.
fn locked(levels: std::ops::Range<usize>) -> RecordBuilder {
    levels.fold(deep(), |record, n| {
        record.level(n, |at| at.memory |= level::LOCK_KNOWN | level::OOM_LOCK)
    })
}

#[test]
fn the_ends_of_a_deep_path_say_whose_it_is() {
    let kill = told(deep());
    assert!(kill.truncated);
    assert!(kill.identity.container.is_some() && kill.identity.pod.is_some());
    assert_eq!(kill.identity.container_level, Some(CONTAINER_LEVEL));
    assert!(!kill.identity.undecided);
    let path = kill
        .cgroup
        .expect("it has levels")
        .path
        .expect("it has names");
    let jobs = |count| "/job".repeat(count);
    let root: String = CONTAINER[..4]
        .iter()
        .rev()
        .map(|name| format!("/{name}"))
        .collect();
    let (near_root, near_leaf) = (jobs(ROOT_LEVELS - CONTAINER.len()), jobs(LEAF_LEVELS));
    assert_eq!(path.to_string(), format!("{root}{near_root}/{near_leaf}"));
    assert_eq!(
        kill.cgroup_ids.len(),
        path.names().count(),
        "one id for each name"
    );
}

#[test]
fn a_limit_is_the_containers_wherever_below_it_the_domain_is() {
    let whole = BELOW + CONTAINER.len();
    for (what, held, limit, has_domain) in [
        ("the leaf's own", 1, Limit::Container, true),
        (
            "of a level that may be one left out",
            LEAF_LEVELS,
            Limit::Container,
            false,
        ),
        (
            "of one that is left out",
            whole / 2,
            Limit::Container,
            false,
        ),
        ("the container's", BELOW + 1, Limit::Container, true),
        ("the pod's", BELOW + 2, Limit::Pod, true),
        ("above the pod", BELOW + 3, Limit::Ancestor, true),
    ] {
        let kill = told(locked(0..held));
        assert_eq!(kill.limit, limit, "{what}");
        assert_eq!(kill.limit_source, Some(LimitSource::OomLock), "{what}");
        assert_eq!(kill.domain.is_some(), has_domain, "{what}");
    }
}

#[test]
fn whose_it_is_cannot_be_told_where_the_names_next_to_the_root_are_missing() {
    let kill = told(deep().body(|body| body.flags |= flag::TRUNCATED));
    assert!(kill.truncated && kill.identity.undecided);
    assert_eq!((kill.identity.container, kill.identity.pod), (None, None));
    // A container may be among those that are left out.
    let names: Vec<_> = std::iter::repeat_n("job", BELOW)
        .chain(["kubepods", ""])
        .collect();
    let kill = told(RecordBuilder::mark(100).path(&names));
    assert!(kill.identity.undecided);
}
