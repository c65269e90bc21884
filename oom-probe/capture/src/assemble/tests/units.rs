//! Units that systemd keeps no memory cgroup for.

use super::*;

const UNIT: [&str; 3] = ["legacy-app.service", "system.slice", ""];

fn unit_of(record: RecordBuilder) -> (Option<String>, Limit) {
    let kill = kill_of([RecordBuilder::signal(100), record]);
    (kill.identity.unit.map(|unit| unit.to_string()), kill.limit)
}

#[test]
fn the_unit_is_taken_from_systemds_own_hierarchy_where_the_path_names_none() {
    let full = |path: &[&str]| {
        RecordBuilder::mark(100)
            .path(path)
            .level(0, |at| at.max = at.usage)
    };
    let legacy = Some("legacy-app.service".to_owned());
    for (what, path, unit, limit) in [
        // The limit is one that it shares with others.
        (
            "in its slice",
            &["system.slice", ""][..],
            legacy.clone(),
            Limit::Ancestor,
        ),
        ("at the root", &[""], legacy, Limit::Ancestor),
        (
            "with one of its own",
            &["nginx.service", "system.slice", ""],
            Some("nginx.service".to_owned()),
            Limit::Container,
        ),
        (
            "in a container",
            &CONTAINER,
            Some(CONTAINER[0].to_owned()),
            Limit::Container,
        ),
        (
            "in a system container",
            &["init", "lxc.payload.web", ""],
            None,
            Limit::Container,
        ),
    ] {
        let told = unit_of(full(path).unit_path(&UNIT));
        assert_eq!(told, (unit, limit), "{what}");
    }
}

#[test]
fn a_container_in_systemds_own_hierarchy_is_no_unit() {
    let record = RecordBuilder::mark(100).path(&["batch", ""]).unit_path(&[
        "app.service",
        CONTAINER[0],
        "kubepods.slice",
        "",
    ]);
    assert_eq!(unit_of(record).0, None);
}
