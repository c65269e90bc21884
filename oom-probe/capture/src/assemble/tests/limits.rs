//! Which limit was hit, what that rests on, and why.

use oom_probe_common::record::valid;

use super::*;
use crate::model::labels::{Cause, Constraint, LimitSource};

fn told(domain: Domain, mark: RecordBuilder) -> Kill {
    kill_of([
        RecordBuilder::begin(domain).current(TRIGGER),
        RecordBuilder::signal(100).current(TRIGGER),
        mark.current(TRIGGER),
        RecordBuilder::end().current(TRIGGER),
    ])
}

fn marked(mark: RecordBuilder) -> Kill {
    kill_of([RecordBuilder::signal(100), mark])
}

fn plain() -> RecordBuilder {
    RecordBuilder::mark(100).path(&CONTAINER)
}

fn global(constraint: u32) -> Domain {
    Domain {
        valid: domain::GLOBAL | domain::CONSTRAINT | domain::ORDER,
        constraint,
        ..Domain::zeroed()
    }
}

#[test]
fn the_kernel_tells_the_limit() {
    use Constraint as C;
    let cases = [
        (memcg(CONTAINER_ID), Limit::Container, C::Memcg),
        (memcg(CONTAINER_ID + 1), Limit::Pod, C::Memcg),
        (memcg(CONTAINER_ID + 2), Limit::Ancestor, C::Memcg),
        (memcg(CONTAINER_ID + 3), Limit::Ancestor, C::Memcg),
        (global(0), Limit::Node, C::None),
        (global(1), Limit::Cpuset, C::Cpuset),
        (global(2), Limit::Mempolicy, C::MemoryPolicy),
    ];
    for (domain, limit, constraint) in cases {
        // What looks full does not matter then.
        let kill = told(domain, plain().level(1, |at| at.max = at.usage));
        assert_eq!(kill.limit, limit);
        assert_eq!(kill.limit_source, Some(LimitSource::Kernel), "{limit}");
        assert_eq!(kill.constraint, Some(constraint), "{limit}");
    }
}

#[test]
fn a_domain_that_is_not_above_the_victim_is_not_placed() {
    let kill = told(memcg(5), plain());
    assert_eq!((kill.limit, kill.limit_source), (Limit::Unknown, None));
}

#[test]
fn without_context_the_limit_is_told_by_the_victims_cgroups() {
    let full = |mark: RecordBuilder, n| mark.level(n, |at| at.max = at.usage);
    let locked = |mark: RecordBuilder, n| {
        mark.level(n, |at| at.memory |= level::LOCK_KNOWN | level::OOM_LOCK)
    };
    let nearly = |mark: RecordBuilder, room: u64| {
        mark.level(0, |at| (at.usage, at.max) = (100_000 - room, 100_000))
    };
    let swap_full = |mark: RecordBuilder, n| mark.level(n, |at| at.memsw_max = at.memsw_usage);
    use LimitSource::{Inferred, OomLock};
    for (what, mark, limit, source) in [
        ("container", full(plain(), 0), Limit::Container, Inferred),
        ("pod", full(plain(), 1), Limit::Pod, Inferred),
        ("slice", full(plain(), 3), Limit::Ancestor, Inferred),
        (
            "lowest",
            full(full(plain(), 0), 1),
            Limit::Container,
            Inferred,
        ),
        (
            "memory and swap",
            swap_full(plain(), 1),
            Limit::Pod,
            Inferred,
        ),
        ("nothing", plain(), Limit::Node, Inferred),
        (
            "a page short",
            nearly(plain(), 1),
            Limit::Container,
            Inferred,
        ),
        (
            "a huge page short",
            nearly(plain(), 512),
            Limit::Container,
            Inferred,
        ),
        ("more", nearly(plain(), 513), Limit::Node, Inferred),
        (
            "full beats nearly",
            full(nearly(plain(), 1), 1),
            Limit::Pod,
            Inferred,
        ),
        ("lock", locked(plain(), 0), Limit::Container, OomLock),
        (
            "locked subtree",
            locked(locked(plain(), 0), 1),
            Limit::Pod,
            OomLock,
        ),
        (
            "lock beats full",
            locked(full(plain(), 1), 0),
            Limit::Container,
            OomLock,
        ),
    ] {
        let kill = marked(mark);
        assert_eq!(kill.limit, limit, "{what}");
        assert_eq!(kill.limit_source, Some(source), "{what}");
    }
}

#[test]
fn nothing_is_inferred_from_cgroups_of_which_no_memory_is_known() {
    let mark = (0..CONTAINER.len()).fold(plain(), |mark, n| mark.level(n, |at| at.memory = 0));
    let kill = marked(mark);
    assert_eq!((kill.limit, kill.limit_source), (Limit::Unknown, None));
    assert_eq!(kill.domain, None);
}

#[test]
fn later_victims_have_the_limit_of_their_event() {
    let by = |record: RecordBuilder| record.current(TRIGGER);
    let roomy = in_group(101).level(0, |at| at.max = at.usage * 1000);
    let run = run([
        by(RecordBuilder::signal(100)),
        by(in_group(100)),
        by(RecordBuilder::signal(101)),
        by(roomy),
    ]);
    let limits: Vec<_> = run.killed.iter().map(|killed| killed.kill.limit).collect();
    assert_eq!(limits, [Limit::Container; 2]);
    assert_eq!(run.events(), [0, 0]);
}

#[test]
fn usage_and_limit_are_bytes_and_absent_where_there_is_no_limit() {
    let kill = marked(plain().level(1, |at| at.max = at.usage));
    let (cgroup, domain) = (kill.cgroup.unwrap(), kill.domain.unwrap());
    assert_eq!(cgroup.id, CONTAINER_ID);
    assert_eq!(cgroup.limit_bytes, Some(10 * PAGE));
    assert_eq!(domain.usage_bytes, Some(10 * PAGE));
    assert!(domain.path.unwrap().to_string().ends_with(".slice"));
    let kill = marked(plain());
    assert_eq!(kill.cgroup.unwrap().limit_bytes, None);
}

#[test]
fn the_cause_is_told_by_usage_and_by_who_triggered_it() {
    let over = |pages: u64, record: RecordBuilder| {
        record.level(0, |at| (at.usage, at.max) = (10_000 + pages, 10_000))
    };
    let outside = |record: RecordBuilder| record.trigger_path(&["runc.scope", ""], 5);
    let not_known = |record: RecordBuilder| record.body(|body| body.valid &= !valid::TRIGGER_MEMCG);
    let kernel_thread =
        |record: RecordBuilder| record.body(|body| body.trigger.flags = 0x0020_0000);
    let blind = |record: RecordBuilder| {
        (0..CONTAINER.len()).fold(record, |record, n| record.level(n, |at| at.memory = 0))
    };
    for (what, mark, cause) in [
        ("at the limit", over(0, plain()), Some(Cause::Charge)),
        ("overshoot", over(512, plain()), Some(Cause::Charge)),
        ("far above", over(8000, plain()), Some(Cause::LimitLowered)),
        (
            "outside, at it",
            over(0, outside(plain())),
            Some(Cause::Charge),
        ),
        (
            "outside, above",
            over(1, outside(plain())),
            Some(Cause::LimitLowered),
        ),
        ("by whom is not known", over(1, not_known(plain())), None),
        ("node", plain(), Some(Cause::Charge)),
        ("node, kernel thread", kernel_thread(plain()), None),
        ("nothing known", blind(plain()), None),
    ] {
        assert_eq!(marked(mark).cause, cause, "{what}");
    }
    let sysrq = Domain {
        order: -1,
        ..global(0)
    };
    assert_eq!(told(sysrq, plain()).cause, Some(Cause::Sysrq));
    assert_eq!(told(global(0), plain()).cause, Some(Cause::Charge));
}
