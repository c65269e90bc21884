//! When a cgroup that could not be written to is tried again.

use super::*;

/// A container's cgroup without the file.
fn without_file(node: &mut Node) -> PathBuf {
    node.apply(&cart());
    node.make(&pod_path(1));
    node.settle();
    let cgroup = node.path(&container(1, 1));
    fs::create_dir(&cgroup).unwrap();
    node.settle();
    cgroup
}

#[test]
fn a_cgroup_whose_file_never_comes_is_tried_as_often_as_is_said() {
    let mut node = Node::new();
    without_file(&mut node);
    let mut pauses = Vec::new();
    // The look at everything comes later than all of them.
    while let Some(due) = node.keeper.next_tick()
        && due < node.now + RESYNC / 2
    {
        pauses.push(due - node.now);
        node.now = due;
        node.keeper.tick(node.now);
        assert!(pauses.len() <= RETRIES.len(), "{pauses:?}");
    }
    assert_eq!(pauses, RETRIES);
}

#[test]
fn a_retry_of_a_pod_that_is_gone_is_not_due_for_ever() {
    let mut node = Node::new();
    without_file(&mut node);
    let due = node.keeper.next_tick().unwrap();
    let other = pod("db", 2);
    node.apply(&other);
    let delete = |node: &mut Node, pod: &PodJson| {
        node.keeper
            .on_pods(PodEvent::Deleted(object(pod)), node.now);
    };
    delete(&mut node, &cart());
    // Deleted pods are remembered for a while.
    node.now = due + Duration::from_secs(3600);
    delete(&mut node, &other);
    assert!(node.keeper.index.by_uid(&uid(1).parse().unwrap()).is_none());
    node.keeper.resync_at = None;
    node.keeper.tick(node.now);
    assert_eq!(node.keeper.next_tick(), None);
}
