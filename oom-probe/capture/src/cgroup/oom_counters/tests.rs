use std::fs;

use serde_json::json;

use super::*;
use crate::cgroup::hierarchy::Hierarchy;

fn container(digit: char) -> Owner {
    Owner::Container(digit.to_string().repeat(64).parse().unwrap())
}

fn reading(owner: Owner, kills: u64, groups: u64, at_ns: u64) -> Reading {
    Reading {
        owner,
        kills,
        groups,
        at_ns,
    }
}

/// A kill that was seen: in a container whose cgroup is gone, or by the ids of its cgroups.
fn seen(owner: Owner, at_ns: u64) -> Seen {
    let (container, cgroups) = match owner {
        Owner::Container(id) => (Some(id), vec![77]),
        Owner::Cgroup(id) => (None, vec![id, 1]),
    };
    Seen {
        container,
        cgroups,
        at_ns,
    }
}

/// One owner's counters, of cgroups with the ids 5 and 6; the root, 1, has counted nothing.
fn now(owner: Owner, kills: u64, groups: u64) -> Now {
    let counters = |reading| Counters {
        reading,
        names: Vec::new(),
    };
    Now {
        counters: vec![
            counters(reading(owner, kills, groups, 200)),
            counters(reading(Owner::Cgroup(1), 0, 0, 200)),
        ],
        owners: HashMap::from([(5, owner), (6, owner), (1, Owner::Cgroup(1))]),
        complete: true,
    }
}

fn total(missed: &[Missed]) -> u64 {
    missed.iter().map(|missed| missed.kills).sum()
}

#[test]
fn what_grew_and_was_not_seen_was_missed() {
    for own in [container('a'), Owner::Cgroup(5)] {
        let other = match own {
            Owner::Container(_) => container('b'),
            Owner::Cgroup(_) => Owner::Cgroup(8),
        };
        let before = Readings(vec![
            reading(own, 5, 1, 100),
            reading(Owner::Cgroup(1), 0, 0, 100),
        ]);
        for (what, kills_seen, kills, groups, missed) in [
            ("nothing", &[][..], 5, 1, 0),
            ("one", &[], 6, 1, 1),
            (
                "a group of three, the first of which counts twice",
                &[],
                9,
                2,
                3,
            ),
            ("one that was seen", &[(own, 150)], 6, 1, 0),
            ("one of two", &[(own, 150)], 7, 1, 1),
            (
                "one that was seen before the reading",
                &[(own, 99)],
                6,
                1,
                1,
            ),
            ("one that was seen after it", &[(own, 201)], 6, 1, 1),
            ("another's", &[(other, 150)], 6, 1, 1),
            ("counters that went back", &[], 0, 0, 0),
        ] {
            let kills_seen: Vec<_> = kills_seen.iter().map(|&(of, at)| seen(of, at)).collect();
            let found = before.missed(&kills_seen, now(own, kills, groups));
            assert_eq!(total(&found), missed, "{own:?}: {what}");
        }
    }
}

#[test]
fn whoever_was_not_read_has_been_made_since() {
    let root = Readings(vec![reading(Owner::Cgroup(1), 0, 0, 100)]);
    for owner in [container('a'), Owner::Cgroup(5)] {
        assert_eq!(total(&root.missed(&[], now(owner, 2, 0))), 2, "{owner:?}");
    }
}

#[test]
fn cgroups_outside_containers_are_not_compared_with_a_state_that_lacks_them() {
    let before = Readings::default();
    let found = |owner| total(&before.missed(&[], now(owner, 2, 0)));
    assert_eq!((found(container('a')), found(Owner::Cgroup(5))), (2, 0));
}

#[test]
fn a_kill_is_counted_by_the_nearest_cgroup_that_has_counters() {
    let root = Readings(vec![reading(Owner::Cgroup(1), 0, 0, 100)]);
    for owner in [container('a'), Owner::Cgroup(5)] {
        // 9 has no memory controller, or is gone.
        let below = Seen {
            container: None,
            cgroups: vec![9, 6, 1],
            at_ns: 150,
        };
        let found = root.missed(&[below], now(owner, 1, 0));
        assert_eq!(total(&found), 0, "{owner:?}");
    }
}

#[test]
fn a_process_that_shares_its_memory_with_the_victim_is_not_counted_by_the_kernel() {
    let kill = json!({
        "id": "1", "event": "1", "time": "2025-11-20T12:03:44Z",
        "role": "primary", "limit": "container", "truncated": false,
    });
    let mut kill: Kill = serde_json::from_value(kill).unwrap();
    assert!(Seen::of(&kill).is_some());
    kill.role = Role::SharedMm;
    assert_eq!(Seen::of(&kill), None);
}

#[test]
fn kills_that_were_counted_are_as_good_as_read() {
    for own in [container('a'), Owner::Cgroup(5)] {
        let before = Readings(vec![reading(own, 5, 0, 100)]);
        let kills = [seen(own, 150), seen(own, 50)];
        let with = before.with(&kills, &now(own, 7, 0));
        assert_eq!(with.0, [reading(own, 6, 0, 100)]);
    }
}

#[test]
fn the_first_kills_of_a_cgroup_are_as_good_as_read() {
    let root = reading(Owner::Cgroup(1), 0, 0, 100);
    let kills = [seen(Owner::Cgroup(5), 150), seen(Owner::Cgroup(5), 120)];
    let now = || now(Owner::Cgroup(5), 3, 0);
    let with = Readings(vec![root]).with(&kills, &now());
    assert_eq!(with.0, [root, reading(Owner::Cgroup(5), 2, 0, 151)]);
    // Told again by the journal, they are not taken off a second time.
    assert_eq!(total(&with.missed(&kills, now())), 1);
}

#[test]
fn a_reading_of_a_container_is_written_as_ever() {
    let id = "a".repeat(64);
    let stored = format!(r#"[{{"container":"{id}","kills":2,"groups":1,"at_ns":7}}]"#);
    let readings: Readings = serde_json::from_str(&stored).unwrap();
    assert_eq!(readings.0, [reading(container('a'), 2, 1, 7)]);
    assert_eq!(serde_json::to_string(&readings).unwrap(), stored);
    let cgroup = Readings(vec![reading(Owner::Cgroup(u64::MAX), 2, 1, 7)]);
    let stored = serde_json::to_string(&cgroup).unwrap();
    assert_eq!(serde_json::from_str::<Readings>(&stored).unwrap(), cgroup);
}

#[test]
fn the_cgroups_of_a_container_count_together_and_others_by_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let id = "a".repeat(64);
    let pod = format!("kubepods/pod6a1c1f1e-0f9a-4d7a-9a50-3a6c8f8b1c2d/{id}");
    for (path, events) in [
        ("system.slice", "oom_kill 0\n"),
        ("system.slice/nginx.service", "oom_kill 9\n"),
        (&*pod, "oom_kill 2\noom_group_kill 1\n"),
        (&*format!("{pod}/worker"), "oom_kill 3\noom_group_kill 0\n"),
    ] {
        let cgroup = directory.path().join(path);
        fs::create_dir_all(&cgroup).unwrap();
        fs::write(cgroup.join("memory.events.local"), events).unwrap();
    }
    let root = MemoryRoot {
        hierarchy: Hierarchy::V2,
        path: directory.path().into(),
    };
    let found = read(&root).counters;
    let at = |path: &str| {
        let at = found
            .iter()
            .find(|counters| counters.path().to_string() == path);
        let at = at.unwrap_or_else(|| panic!("no {path}: {found:?}"));
        (at.reading.kills, at.reading.groups, at.ids(&root).len())
    };
    assert_eq!(found.len(), 3);
    assert_eq!(at(&format!("/{pod}")), (5, 1, 4));
    assert_eq!(at("/system.slice/nginx.service"), (9, 0, 3));
    assert_eq!(at("/system.slice"), (0, 0, 2));

    // Of those outside containers only what has counted, and the root, though it has no counters.
    let kept: Vec<_> = readings(&root).0;
    let root_id = id_of(directory.path()).unwrap();
    let has = |owner| kept.iter().any(|reading| reading.owner == owner);
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(
        has(Owner::Cgroup(root_id)) && has(container('a')),
        "{kept:?}"
    );
}
