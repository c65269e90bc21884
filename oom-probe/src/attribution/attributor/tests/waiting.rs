//! Kills that come before the status that names their container.

use super::*;

#[test]
fn a_kill_in_the_first_seconds_of_a_container_waits_for_the_status() {
    // The kubelet has started two containers; the status knows neither, then one, then both.
    let cart = || pod("cart", 1).container("proxy");
    let mut node = Node::with(&[cart()]);
    node.parked(&path(1, 1));
    node.parked(&path(1, 2));
    assert_eq!(all(&node.wait(5 * SECOND)), [""; 0]);
    assert_eq!(
        all(&node.apply(&cart().running("proxy", 2))),
        ["late shop/cart/proxy"]
    );
    let both = cart().running("proxy", 2).running("app", 1);
    assert_eq!(all(&node.apply(&both)), ["late shop/cart/app"]);
    assert_eq!(all(&node.apply(&both)), [""; 0], "once and no more");
    assert_eq!(node.attributor.next_tick(), None);
}

#[test]
fn a_restarted_containers_first_kill_waits_for_its_own_status() {
    let mut node = Node::with(&[pod("cart", 1)
        .container("proxy")
        .running("app", 1)
        .running("proxy", 2)]);
    node.parked(&path(1, 3));
    // The status of the end comes before that of the new start.
    let ended = pod("cart", 1)
        .container("proxy")
        .terminated("app", 1, 137, "12:01:00")
        .running("proxy", 2);
    assert_eq!(all(&node.apply(&ended)), [""; 0]);
    let again = pod("cart", 1)
        .container("proxy")
        .restarted("app", 3, 1, "12:01:00")
        .running("proxy", 2);
    assert_eq!(all(&node.apply(&again)), ["late shop/cart/app"]);
}

#[test]
fn a_run_named_only_by_the_last_state_is_found_there() {
    let mut node = Node::with(&[pod("cart", 1).container("proxy")]);
    node.parked(&path(1, 1));
    let again = pod("cart", 1)
        .container("proxy")
        .restarted("app", 2, 1, "12:00:02");
    assert_eq!(all(&node.apply(&again)), ["late shop/cart/app"]);
}

#[test]
fn a_job_pod_that_lives_for_two_seconds_is_named_by_its_last_state() {
    let mut node = Node::with(&[]);
    node.parked(&path(1, 1));
    let job = || pod("backup-x", 1).container("upload");
    assert_eq!(all(&node.apply(&job().phase("Pending"))), [""; 0]);
    let failed = job().terminated("app", 1, 137, "12:00:03").phase("Failed");
    assert_eq!(all(&node.delete(&failed)), ["late shop/backup-x/app"]);
}

#[test]
fn nothing_is_guessed_in_a_pod_of_several_containers() {
    let mut node = Node::with(&[pod("cart", 1).container("proxy").running("proxy", 2)]);
    node.parked(&path(1, 1));
    assert_eq!(all(&node.wait(PATIENCE - SECOND)), [""; 0]);
    let records = node.wait(SECOND);
    assert_eq!(all(&records), ["unresolved shop/cart/?"]);
    let pod = records[0].pod.clone().unwrap();
    assert_eq!(pod.container_id, Some(container_id(1)));
    assert_eq!(pod.uid, Some(uid(1)));
    assert_eq!(all(&node.wait(PATIENCE)), [""; 0], "once and no more");
}

#[test]
fn in_a_pod_of_one_container_there_is_nothing_to_guess() {
    let mut node = Node::with(&[pod("cart", 1)]);
    node.parked(&path(1, 1));
    assert_eq!(all(&node.wait(PATIENCE)), ["late shop/cart/app"]);
}

#[test]
fn the_sandbox_is_an_id_that_no_status_names_and_runs_pause() {
    let pause = |pod, container| {
        let mut kill = kill_in(&path(pod, container));
        kill.victim.comm = Some("pause".to_owned());
        kill
    };
    let mut node = Node::with(&[
        pod("cart", 1).running("app", 1),
        pod("placeholder", 2).running("app", 3),
    ]);
    assert!(matches!(node.kill(pause(1, 2)), Decision::Parked { .. }));
    assert_eq!(all(&node.wait(PATIENCE)), ["late shop/cart/POD"]);
    // A container may run the pause image on purpose, to hold a place in the cluster.
    let Decision::Record(record) = node.kill(pause(2, 3)) else {
        panic!("its id is known");
    };
    assert_eq!(shown(&record), "live shop/placeholder/app");
}

#[test]
fn a_pod_that_is_never_listed_leaves_what_the_path_says() {
    let mut node = Node::with(&[]);
    node.parked(&path(1, 1));
    node.parked(&format!("/kubepods/besteffort/pod{}", uid(2)));
    let records = node.wait(PATIENCE);
    assert_eq!(all(&records), ["unresolved ?/?/?", "unresolved ?/?/POD"]);
    let pod = records[0].pod.clone().unwrap();
    assert_eq!(
        (pod.uid, pod.container_id),
        (Some(uid(1)), Some(container_id(1)))
    );
    assert_eq!(pod.qos.as_deref(), Some("Burstable"));
    assert_eq!(records[0].scope, Scope::Pod);
}

#[test]
fn a_kill_before_the_first_list_waits_for_it_however_long() {
    let mut node = Node::unsynced();
    node.parked(&path(1, 1));
    node.parked(&path(2, 2));
    assert_eq!(all(&node.wait(PATIENCE * 5)), [""; 0]);
    let records = node.list(&[pod("cart", 1).running("app", 1)]);
    assert_eq!(all(&records), ["late shop/cart/app"]);
    // The list may come from a cache that is behind: the other still has a moment.
    assert_eq!(all(&node.wait(14 * SECOND)), [""; 0]);
    assert_eq!(all(&node.wait(SECOND)), ["unresolved ?/?/?"]);
}

#[test]
fn while_the_api_server_is_away_known_pods_go_on_and_new_ones_wait() {
    let cart = pod("cart", 1).running("app", 1);
    let mut node = Node::with(std::slice::from_ref(&cart));
    node.tell(PodEvent::Away);
    let mut live = Vec::new();
    for _ in 0..20 {
        live.push(node.decided(&path(1, 1)));
        node.parked(&path(2, 2));
        assert_eq!(all(&node.wait(3 * SECOND)), [""; 0]);
    }
    assert_eq!(all(&live), ["live shop/cart/app"; 20]);
    node.wait(PATIENCE);
    let records = node.list(&[cart, pod("born", 2).running("app", 2)]);
    assert_eq!(all(&records), ["late shop/born/app"; 20]);
}

#[test]
fn a_pod_that_came_and_went_while_the_api_server_was_away_is_told_by_the_resumed_watch() {
    let mut node = Node::with(&[]);
    node.tell(PodEvent::Away);
    node.parked(&path(1, 1));
    assert_eq!(all(&node.wait(60 * SECOND)), [""; 0]);
    node.tell(PodEvent::Synced { listed: false });
    let born = || pod("born", 1);
    assert_eq!(all(&node.apply(&born().phase("Pending"))), [""; 0]);
    let over = born().terminated("app", 1, 137, "12:00:30").phase("Failed");
    assert_eq!(all(&node.apply(&over)), ["late shop/born/app"]);
    assert_eq!(all(&node.delete(&over)), [""; 0], "once and no more");
}

#[test]
fn a_watch_that_resumes_without_a_list_keeps_all_pods() {
    let mut node = Node::with(&[pod("cart", 1).running("app", 1)]);
    node.tell(PodEvent::Away);
    node.tell(PodEvent::Synced { listed: false });
    assert_eq!(shown(&node.decided(&path(1, 1))), "live shop/cart/app");
}

#[test]
fn an_api_server_that_stays_away_is_not_waited_for_for_ever() {
    let mut node = Node::unsynced();
    node.parked(&path(1, 1));
    assert_eq!(node.attributor.next_tick(), Some(node.now + AT_MOST));
    assert_eq!(all(&node.wait(AT_MOST)), ["unresolved ?/?/?"]);
}

#[test]
fn a_storm_in_unknown_pods_parks_a_bounded_number() {
    let mut node = Node::unsynced();
    for _ in 0..MAX_PARKED {
        node.parked(&path(1, 1));
    }
    let decision = node.kill(kill_in(&path(2, 2)));
    let Decision::Parked {
        scope: Scope::Pod,
        displaced: Some(oldest),
        ..
    } = decision
    else {
        panic!("{decision:?}");
    };
    assert_eq!(oldest.pod.unwrap().uid, Some(uid(1)));
    assert_eq!(node.attributor.parked().count(), MAX_PARKED);
}

#[test]
fn a_daemon_that_stops_tells_what_it_knows_of_kills_that_wait() {
    let mut node = Node::with(&[pod("cart", 1).container("proxy")]);
    node.parked(&path(1, 1));
    node.parked(&path(2, 2));
    let records = node.attributor.conclude();
    assert_eq!(
        all(&records),
        ["unresolved shop/cart/?", "unresolved ?/?/?"]
    );
    assert_eq!(node.attributor.parked().count(), 0);
}

#[test]
fn a_pod_of_before_a_restart_is_a_tombstone_until_a_list_or_its_cgroup_says_that_it_is_there() {
    let restarted = || {
        let before = Node::with(&[pod("cart", 1).running("app", 1)]);
        let mut node = Node::unsynced();
        for pod in before.attributor.index().pods() {
            node.attributor.restore_pod(Arc::clone(pod), None);
        }
        node
    };
    let uid = uid(1).parse().unwrap();
    let kill = kill_in(&path(1, 1));
    let mut node = restarted();
    assert_eq!(node.attributor.unconfirmed(&kill), Some(uid));
    assert_eq!(shown(&node.decided(&path(1, 1))), "tombstone shop/cart/app");
    node.attributor.confirm(&uid);
    assert_eq!(node.attributor.unconfirmed(&kill), None);
    assert_eq!(shown(&node.decided(&path(1, 1))), "live shop/cart/app");
    // What a list says counts all the same.
    node.list(&[]);
    assert_eq!(shown(&node.decided(&path(1, 1))), "tombstone shop/cart/app");

    let mut node = restarted();
    node.list(&[pod("cart", 1).running("app", 1)]);
    assert_eq!(node.attributor.unconfirmed(&kill), None);
    assert_eq!(shown(&node.decided(&path(1, 1))), "live shop/cart/app");
}
