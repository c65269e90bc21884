//! What was there before is remembered with the cgroup, and put back.

use super::*;

#[test]
fn what_was_there_before_is_put_back_when_the_annotation_goes() {
    let mut node = Node::new();
    if !node.has_notes() {
        return;
    }
    let inside = format!("{}/inside", container(1, 1));
    node.apply(&cart().running("app", 1));
    node.start(&container(1, 1));
    node.start(&inside);
    // This one was 0 before anybody asked.
    node.make(&container(1, 2));
    node.settle();
    node.apply(&pod("cart", 1).running("app", 1));
    for (path, setting) in [
        (container(1, 1), Group),
        (inside, Group),
        (container(1, 2), Process),
    ] {
        assert_eq!(node.value(&path), setting, "{path}");
        assert_eq!(file::original(&node.path(&path)).unwrap(), None, "{path}");
    }
    assert!(node.keeper.groups.is_empty());
    assert_eq!(
        node.said().last().unwrap(),
        "memory.oom.group of container app is 1 again, as before the annotation"
    );
    // Nobody holds it any more.
    node.write(&container(1, 1), Group);
    node.settle();
    assert_eq!(node.value(&container(1, 1)), Group);
}

/// The watch tells of the runtime's write when it has been undone already, and of this daemon's own
/// after that.
#[test]
fn what_was_there_before_is_known_though_writes_are_told_late() {
    let mut node = Node::new();
    if !node.has_notes() {
        return;
    }
    node.apply(&cart());
    node.make(&container(1, 1));
    node.settle();
    for id in [7, 8] {
        node.write(&container(1, 1), Group);
        node.apply(&cart().running("app", id));
        assert_eq!(node.value(&container(1, 1)), Process);
    }
    node.apply(&pod("cart", 1));
    assert_eq!(node.value(&container(1, 1)), Group);
}

#[test]
fn a_value_that_changes_is_written_and_the_first_one_remembered() {
    let mut node = Node::new();
    if !node.has_notes() {
        return;
    }
    node.apply(&cart());
    node.start(&container(1, 1));
    node.apply(&annotated(pod("cart", 1), &json!({ANNOTATION: "1"})));
    assert_eq!(node.value(&container(1, 1)), Group);
    node.apply(&cart());
    assert_eq!(node.value(&container(1, 1)), Process);
    node.apply(&pod("cart", 1));
    assert_eq!(node.value(&container(1, 1)), Group);
}

#[test]
fn a_value_that_the_runtime_writes_as_well_is_not_taken_away_with_the_annotation() {
    let mut node = Node::new();
    if !node.has_notes() {
        return;
    }
    node.apply(&annotated(pod("cart", 1), &json!({ANNOTATION: "1"})));
    // The keeper writes 1 first, then runc does.
    node.start(&container(1, 1));
    node.apply(&pod("cart", 1));
    assert_eq!(node.value(&container(1, 1)), Group);
    // Here the kubelet has singleProcessOOMKill: nobody else writes.
    node.apply(&annotated(pod("cart", 1), &json!({ANNOTATION: "1"})));
    node.make(&container(1, 2));
    node.settle();
    assert_eq!(node.value(&container(1, 2)), Group);
    node.apply(&pod("cart", 1));
    assert_eq!(node.value(&container(1, 2)), Process);
}

#[test]
fn a_daemon_that_was_away_finds_what_it_held_and_puts_back_what_nobody_asks_for() {
    let mut node = Node::new();
    if !node.has_notes() {
        return;
    }
    let inside = format!("{}/inside", container(1, 1));
    node.apply(&cart());
    node.start(&container(1, 1));
    node.start(&inside);
    node.restarted(&[&cart()]);
    assert_eq!(node.value(&container(1, 1)), Process);
    assert!(node.keeper.groups.values().all(|group| group.writes == 0));
    node.write(&container(1, 1), Group);
    node.settle();
    assert_eq!(node.value(&container(1, 1)), Process, "held on");
    // A pod that is not known may be one that asks for it.
    node.restarted(&[]);
    assert_eq!(node.value(&container(1, 1)), Process);
    node.restarted(&[&pod("cart", 1)]);
    assert_eq!(node.value(&container(1, 1)), Group);
    assert_eq!(node.value(&inside), Group);
    assert!(node.keeper.groups.is_empty());
}
