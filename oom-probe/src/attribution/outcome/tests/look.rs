//! Where is looked, and what is made of it.

use jiff::SignedDuration;

use super::*;

fn text(path: &[u8]) -> String {
    String::from_utf8(path.to_owned()).unwrap()
}

#[test]
fn the_container_is_looked_at_and_not_what_is_below_it() {
    let nested = |level_path: &str| {
        let mut record = child("e", 1);
        record.kill = Kill {
            event: "e".to_owned(),
            ..kill_in(level_path)
        };
        record
    };
    let below = path(1) + "/system.slice/app.service";
    let pod = format!("/kubepods/burstable/pod{}", uid(1));
    for (victim, looked_at) in [
        (&below, Some(path(1))),
        (&path(1), Some(path(1))),
        (&pod, Some(pod.clone())),
    ] {
        let record = nested(victim);
        assert_eq!(
            container_cgroup(&record.kill).map(text),
            looked_at,
            "{victim}"
        );
    }
    let cut = nested(&format!("/{}", path(1)));
    assert_eq!(container_cgroup(&cut.kill), None);
}

#[test]
fn a_node_that_is_a_container_sees_its_containers_below_its_own_root() {
    let seen = |path: &str, root, truncated| {
        let unknown = if truncated { "/" } else { "" };
        let kill = Kill {
            node_root_level: root,
            truncated,
            ..kill_in(&format!("{unknown}{path}"))
        };
        seen_from_node(&kill).map(text)
    };
    let node = "/docker/0123/kubelet";
    let inside = path(1);
    let below = format!("{node}{inside}/system.slice/app.service");
    // kubepods, burstable, the pod, the container, and two levels in it.
    for (root, truncated, expected) in [
        (Some(6), false, Some(inside.clone())),
        (Some(7), false, Some(format!("/kubelet{inside}"))),
        // What is missing of the path is above the node.
        (Some(6), true, Some(inside.clone())),
        (None, false, Some(format!("{node}{inside}"))),
        (None, true, None),
        // The root that was named is the container itself, or in it.
        (Some(2), false, None),
        (Some(1), false, None),
    ] {
        assert_eq!(
            seen(&below, root, truncated),
            expected,
            "{root:?} {truncated}"
        );
    }
}

#[test]
fn the_pods_status_decides_where_it_tells_of_an_end() {
    let kill: Timestamp = pod_child().kill.time;
    let ended = |code, after| Signs {
        population: None,
        ..ended(code, kill + SignedDuration::from_secs(after))
    };
    let within = STATUS_WITHIN.as_secs();
    for (signs, since, expected) in [
        (ended(1, 0), 0, Some(Outcome::Died)),
        // The status cuts to the second: before the kill means just after it.
        (ended(137, -1), 0, Some(Outcome::Died)),
        (ended(137, 10), 0, Some(Outcome::Died)),
        (ended(137, 12), 0, Some(Outcome::Survived)),
        // It came to an end of its own, however soon.
        (ended(0, 0), 0, Some(Outcome::Survived)),
        (ended(0, 4), 5, Some(Outcome::Survived)),
        (ended(0, 600), 1200, Some(Outcome::Survived)),
        // Kept by an earlier version, which did not note the code.
        (without_code(ended(0, 4)), 5, Some(Outcome::Died)),
        (BLIND, 5, None),
        (BLIND, within - 1, None),
        (BLIND, within, Some(Outcome::Survived)),
        (POPULATED, 4, None),
        (POPULATED, 5, Some(Outcome::Survived)),
        // Its processes go a moment later than its status.
        (alive(ended(1, 1)), 1, Some(Outcome::Died)),
        // Read long after: it ended for some other reason.
        (ended(1, 600), 1200, Some(Outcome::Survived)),
        (EMPTY, within - 1, None),
        (EMPTY, 1200, Some(Outcome::Died)),
        (GONE, within - 1, None),
        (GONE, 1200, Some(Outcome::Died)),
    ] {
        let found = judge(signs, kill, Duration::from_secs(since), STATUS_WITHIN);
        assert_eq!(found, expected, "{signs:?} after {since} s");
    }
}

fn without_code(signs: Signs) -> Signs {
    Signs {
        exit_code: None,
        ..signs
    }
}

fn alive(signs: Signs) -> Signs {
    Signs {
        population: POPULATED.population,
        ..signs
    }
}
