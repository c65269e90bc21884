use super::*;
use crate::cgroup::path;
use crate::kube::fixture::{PodJson, config_hash, container_id, container_path, pod, uid};

fn object(pod: &PodJson) -> object::Pod {
    serde_json::from_value(pod.0.clone()).unwrap()
}

fn index(pods: &[PodJson]) -> (Index, Instant) {
    let (mut index, now) = (Index::default(), Instant::now());
    for pod in pods {
        index.apply(&object(pod), now).unwrap();
    }
    (index, now)
}

/// `pod/container`, `pod/POD` in the pod's own cgroup, `pod/?` for an unlisted id; a `-` before
/// what is past.
fn shown(index: &Index, path: &str) -> String {
    let (found, container) = match index.lookup(&path::from_path(path.as_bytes())) {
        Found::Container(found, at) => {
            let name = found.container(at).unwrap().name.to_string();
            (found, name)
        }
        Found::Sandbox(found) => (found, "POD".to_owned()),
        Found::Unlisted(found) => (found, "?".to_owned()),
        Found::Nothing => return "nothing".to_owned(),
    };
    let past = if found.past { "-" } else { "" };
    format!("{past}{}/{container}", found.pod.name)
}

fn path(pod: u32, container: u32) -> String {
    container_path(&uid(pod), container)
}

#[test]
fn every_container_of_a_pod_is_found_by_its_id() {
    let cart = pod("cart", 1)
        .container("proxy")
        .init("migrate")
        .sidecar("mesh")
        .ephemeral("debug")
        .running("app", 1)
        .running("proxy", 2)
        .terminated("migrate", 3, 0, "12:00:05")
        .running("mesh", 4)
        .running("debug", 5);
    let (index, _) = index(&[cart, pod("other", 2).running("app", 6)]);
    for (path, found) in [
        (path(1, 1), "cart/app"),
        (path(1, 2), "cart/proxy"),
        (path(1, 3), "cart/migrate"),
        (path(1, 4), "cart/mesh"),
        (path(1, 5), "cart/debug"),
        (path(2, 6), "other/app"),
        (path(1, 1) + "/init.scope", "cart/app"),
        (format!("/kubepods/burstable/pod{}", uid(1)), "cart/POD"),
        // The sandbox, or a container whose status has not come yet.
        (path(1, 9), "cart/?"),
        (path(3, 9), "nothing"),
        // The id says more than the pod, and is enough where a runtime leaves out the pod.
        (path(1, 6), "other/app"),
        (
            format!("/system.slice/docker-{}.scope", container_id(6)),
            "other/app",
        ),
        ("/system.slice/nginx.service".to_owned(), "nothing"),
    ] {
        assert_eq!(shown(&index, &path), found, "{path}");
    }
}

#[test]
fn a_static_pod_is_found_by_the_hash_of_its_manifest() {
    let mirror = |n| {
        pod("kube-apiserver-node-1", n)
            .mirror_of(7)
            .running("app", 1)
    };
    let (mut index, now) = index(&[mirror(1)]);
    let path = container_path(&config_hash(7), 1);
    assert_eq!(shown(&index, &path), "kube-apiserver-node-1/app");
    assert_eq!(
        shown(
            &index,
            &format!("/kubepods/burstable/pod{}", config_hash(7))
        ),
        "kube-apiserver-node-1/POD"
    );
    // Somebody deletes the mirror; the containers run on, and the next mirror has them.
    index.delete(&object(&mirror(1)), now);
    assert_eq!(shown(&index, &path), "-kube-apiserver-node-1/app");
    index.apply(&object(&mirror(2)), now).unwrap();
    assert_eq!(shown(&index, &path), "kube-apiserver-node-1/app");
    index.expire(now + GRACE);
    assert_eq!(shown(&index, &path), "kube-apiserver-node-1/app");
}

#[test]
fn a_container_that_was_started_anew_is_past_under_its_old_id() {
    let (mut index, now) = index(&[pod("cart", 1).running("app", 1)]);
    let again = pod("cart", 1).restarted("app", 2, 1, "12:01:00");
    index.apply(&object(&again), now).unwrap();
    assert_eq!(shown(&index, &path(1, 1)), "-cart/app");
    assert_eq!(shown(&index, &path(1, 2)), "cart/app");
    let third = pod("cart", 1).restarted("app", 3, 2, "12:02:00");
    index.apply(&object(&third), now).unwrap();
    assert_eq!(shown(&index, &path(1, 1)), "-cart/app");
}

#[test]
fn a_deleted_pod_is_remembered_for_a_while() {
    let (mut index, now) = index(&[pod("cart", 1).running("app", 1)]);
    // The last state is the first to name this run.
    let last = pod("cart", 1).restarted("app", 2, 1, "12:01:00");
    assert!(index.delete(&object(&last), now).is_some());
    assert!(
        index.delete(&object(&last), now).is_none(),
        "it is gone already"
    );
    assert!(index.is_empty());
    for id in [1, 2] {
        assert_eq!(shown(&index, &path(1, id)), "-cart/app");
    }
    index.expire(now + GRACE - Duration::from_millis(1));
    assert_eq!(shown(&index, &path(1, 1)), "-cart/app");
    index.expire(now + GRACE);
    assert_eq!(shown(&index, &path(1, 1)), "nothing");
    assert!(index.runs.is_empty() && index.gone.is_empty());
}

#[test]
fn a_pod_that_comes_back_is_alive() {
    let cart = object(&pod("cart", 1).running("app", 1));
    let (mut index, now) = index(&[pod("cart", 1).running("app", 1)]);
    index.delete(&cart, now);
    index.apply(&cart, now + GRACE / 2).unwrap();
    assert_eq!(shown(&index, &path(1, 1)), "cart/app");
    index.delete(&cart, now + GRACE / 2);
    // The first tombstone's end is not the second's.
    index.expire(now + GRACE);
    assert_eq!(shown(&index, &path(1, 1)), "-cart/app");
    index.expire(now + GRACE * 2);
    assert_eq!(shown(&index, &path(1, 1)), "nothing");
}

#[test]
fn an_id_in_the_history_of_two_pods_is_that_of_the_pod_in_the_path() {
    let (mut index, now) = index(&[
        pod("old", 1).running("app", 1),
        pod("new", 2).restarted("app", 2, 1, "12:01:00"),
    ]);
    assert_eq!(shown(&index, &path(1, 1)), "old/app");
    assert_eq!(shown(&index, &path(2, 1)), "-new/app");
    // Forgetting one leaves the other's.
    index.delete(&object(&pod("new", 2)), now);
    index.expire(now + GRACE);
    assert_eq!(shown(&index, &path(1, 1)), "old/app");
    assert_eq!(shown(&index, &path(2, 2)), "nothing");
}

#[test]
fn a_new_list_buries_what_it_does_not_have() {
    let (kept, lost) = (pod("kept", 1), pod("lost", 2).running("app", 2));
    let (mut index, now) = index(&[kept.clone(), lost]);
    index.begin_list();
    index.apply(&object(&kept), now).unwrap();
    index.apply(&object(&pod("new", 3)), now).unwrap();
    // This list broke off; nothing is concluded from it.
    assert_eq!(index.len(), 3);
    index.begin_list();
    index.apply(&object(&kept), now).unwrap();
    index.apply(&object(&pod("new", 3)), now).unwrap();
    let gone = index.finish_list(now);
    assert_eq!(
        gone.iter().map(|pod| &*pod.name).collect::<Vec<_>>(),
        ["lost"]
    );
    assert_eq!(shown(&index, &path(2, 2)), "-lost/app");
    assert_eq!(index.len(), 2);
}

#[test]
fn pods_of_one_name_are_told_apart() {
    let (mut index, now) = index(&[pod("db-0", 1).running("app", 1)]);
    index.delete(&object(&pod("db-0", 1)), now);
    let again = pod("db-0", 2).running("app", 2);
    let again = index.apply(&object(&again), now).unwrap();
    assert_eq!(again.uid.to_string(), uid(2));
    assert_eq!(shown(&index, &path(1, 1)), "-db-0/app");
    assert_eq!(shown(&index, &path(2, 2)), "db-0/app");
}

#[test]
fn neither_pods_nor_tombstones_grow_without_bound() {
    let (mut index, now) = (Index::default(), Instant::now());
    let count = u32::try_from(MAX_PODS).unwrap();
    for n in 0..count {
        index.apply(&object(&pod("p", n)), now).unwrap();
    }
    assert_eq!(
        index.apply(&object(&pod("p", count)), now).unwrap_err(),
        Refused::Full
    );
    assert!(
        index.apply(&object(&pod("p", 0)), now).is_ok(),
        "a known one may change"
    );
    index.begin_list();
    assert_eq!(index.finish_list(now).len(), MAX_PODS);
    assert_eq!(index.gone.len(), MAX_GONE);
    assert_eq!(index.buried.len(), MAX_GONE);
}

#[test]
fn an_object_that_is_no_pod_changes_nothing() {
    let (mut index, now) = index(&[pod("cart", 1).running("app", 1)]);
    let mut bad = pod("cart", 1);
    bad.0["metadata"]["namespace"] = "".into();
    assert_eq!(
        index.apply(&object(&bad), now).unwrap_err(),
        Refused::Rejected(Rejected::Name)
    );
    assert_eq!(shown(&index, &path(1, 1)), "cart/app");
}

#[test]
fn the_end_of_a_run_is_known_from_the_status() {
    let (mut index, now) = index(&[pod("cart", 1).running("app", 1)]);
    let id = |n| container_id(n).parse().unwrap();
    assert_eq!(index.finished_at(&id(1)), None);
    let again = pod("cart", 1).restarted("app", 2, 1, "12:01:00");
    index.apply(&object(&again), now).unwrap();
    let ended = "2025-11-20T12:01:00Z".parse().unwrap();
    assert_eq!(index.finished_at(&id(1)), Some(ended));
    assert_eq!(index.finished_at(&id(2)), None);
    index.delete(&object(&again), now);
    assert_eq!(index.finished_at(&id(1)), Some(ended));
    assert_eq!(index.finished_at(&id(9)), None);
    let gone = index.by_uid(&uid(1).parse().unwrap()).unwrap();
    assert_eq!(&*gone.name, "cart");
}
