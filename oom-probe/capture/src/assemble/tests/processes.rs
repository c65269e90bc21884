//! The victim's place in its container, and the trigger's.

use oom_probe_common::record::{flag, valid};

use super::*;
use crate::model::labels::VictimKind;

const NESTED: [&str; 6] = [
    "worker",
    CONTAINER[0],
    CONTAINER[1],
    CONTAINER[2],
    CONTAINER[3],
    "",
];
/// Id of the container's own cgroup in [`NESTED`].
const NESTED_CONTAINER: u64 = 996;

fn kill_with(mark: RecordBuilder) -> Kill {
    kill_of([RecordBuilder::signal(100), mark])
}

#[test]
fn init_or_child_by_pid_namespace_and_parent() {
    const OUTSIDE: Option<u64> = Some(5);
    const INSIDE: Option<u64> = Some(NESTED_CONTAINER);
    const POD: Option<u64> = Some(NESTED_CONTAINER + 1);
    use VictimKind::{Child, Init, Unknown};
    // (depth of the namespace, pid in it), the parent's memory cgroup
    for (ns, parent, want) in [
        (Some((1, 1)), OUTSIDE, Init),
        (Some((1, 1)), POD, Init),
        (Some((1, 1)), None, Init),
        (Some((1, 7)), INSIDE, Child),
        (Some((2, 1)), INSIDE, Child),
        (Some((1, 7)), OUTSIDE, Unknown),
        (Some((0, 100)), OUTSIDE, Unknown),
        (None, INSIDE, Child),
        (None, None, Unknown),
    ] {
        let mark = RecordBuilder::mark(100).path(&NESTED).body(|body| {
            let victim = &mut body.victim;
            match ns {
                Some((level, pid)) => (victim.pid_ns_level, victim.ns_pid) = (level, pid),
                None => body.valid &= !valid::PID_NS,
            }
            match parent {
                Some(memcg) => victim.parent_memcg = memcg,
                None => body.valid &= !valid::PARENT_MEMCG,
            }
        });
        let kind = kill_with(mark).victim.kind;
        assert_eq!(kind, want, "{ns:?}, parent {parent:?}");
    }
}

#[test]
fn the_trigger_is_or_is_not_in_the_victims_container() {
    let plain = || RecordBuilder::mark(100).path(&NESTED);
    let container = NESTED_CONTAINER;
    let sibling = |mark: RecordBuilder| mark.trigger_path(&["other", ""], 5);
    // The container's own cgroup, of which the victim's is a child.
    let parent = |mark: RecordBuilder| mark.trigger_path(&NESTED[1..], container);
    let cut = |mark: RecordBuilder| mark.body(|body| body.flags |= flag::TRIGGER_TRUNCATED);
    let not_read = |mark: RecordBuilder| mark.body(|body| body.trigger.memcg = 5);
    let not_known = |mark: RecordBuilder| mark.body(|body| body.valid &= !valid::TRIGGER_MEMCG);
    for (what, mark, want) in [
        ("itself", plain(), Some(true)),
        ("the container's own cgroup", parent(plain()), Some(true)),
        ("elsewhere", sibling(plain()), Some(false)),
        ("elsewhere, path cut off", cut(sibling(plain())), None),
        ("inside, path cut off", cut(parent(plain())), Some(true)),
        ("path not read", not_read(plain()), None),
        ("cgroup not known", not_known(plain()), None),
    ] {
        let trigger = kill_with(mark).trigger.expect("the header has it");
        assert_eq!(trigger.same_container, want, "{what}");
    }
}

#[test]
fn the_trigger_has_a_name_and_a_path_of_its_own() {
    const PF_KTHREAD: u32 = 0x0020_0000;
    let mark = RecordBuilder::mark(100)
        .path(&CONTAINER)
        .trigger_path(&["runc.scope", "system.slice", ""], 5)
        .body(|body| {
            body.trigger.flags = PF_KTHREAD;
            body.trigger.comm[..4].copy_from_slice(b"kwor");
        })
        .current(100);
    let trigger = kill_with(mark).trigger.expect("the header has it");
    assert_eq!(trigger.comm.as_deref(), Some("kwor"));
    assert_eq!(trigger.kernel_thread, Some(true));
    let path = trigger.cgroup.as_ref().map(ToString::to_string);
    assert_eq!(path.as_deref(), Some("/system.slice/runc.scope"));
}

#[test]
fn what_was_not_read_is_absent() {
    let mark = RecordBuilder::mark(100)
        .path(&CONTAINER)
        .body(|body| body.valid = valid::IDS | valid::START_TIME);
    let kill = kill_with(mark);
    let victim = kill.victim;
    assert_eq!(victim.comm, None);
    assert_eq!(victim.uid, None);
    assert_eq!(victim.oom_score_adj, None);
    assert_eq!(victim.anon_rss_bytes, None);
    assert_eq!(victim.total_vm_bytes, None);
    assert_eq!(victim.pgtables_bytes, None);
    assert_eq!(victim.ns_pid, None);
    assert_eq!(kill.cgroup.expect("it has levels").version, None);
}
