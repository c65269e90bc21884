use capture::{
    environment::{Access, Calls, Capabilities, Capability, Memlock},
    plan::{MarkHook, Obstacle},
};

use super::plan::{contexts, mark, marks, with};
use super::recorded::{self, KERNELS};

use MarkHook::{RawTp, Tracepoint};

#[test]
fn without_btf_and_tracefs_it_is_the_btf_that_is_asked_for() {
    let plan = with("6.1", |facts| {
        facts.btf = Err("no BTF".into());
        facts.tracefs = Err("tracefs is not mounted".into());
    });
    assert_eq!(plan.refusal(), Some(&Obstacle::NoBtf("no BTF".into())));
}

#[test]
fn what_bpf_needs_is_needed_by_every_rung() {
    let none = Capabilities::of(&[]);
    let bpf = Capabilities::of(&[Capability::Bpf]);
    let denied = Calls {
        reach: libc::E2BIG,
        create: libc::EPERM,
    };
    let filtered = Calls {
        reach: libc::EPERM,
        create: libc::EPERM,
    };
    let both = vec![Capability::Bpf, Capability::Perfmon];
    for (capabilities, calls, initial, access) in [
        (Some(none), denied, true, Access::Capability(both.clone())),
        (Some(none), filtered, true, Access::Capability(both)),
        (
            Some(bpf),
            denied,
            true,
            Access::Capability(vec![Capability::Perfmon]),
        ),
        (None, filtered, true, Access::Seccomp),
        (None, denied, true, Access::Denied),
        (None, denied, false, Access::UserNamespace),
    ] {
        let plan = with("6.12", |facts| {
            facts.capabilities = capabilities.unwrap_or(facts.capabilities);
            facts.bpf = calls;
            facts.initial_user_namespace = initial;
        });
        assert_eq!(marks(&plan), []);
        assert_eq!(contexts(&plan), []);
        let refusal = plan.refusal().unwrap();
        assert_eq!(refusal, &Obstacle::Bpf(access));
        assert!(refusal.remedy().is_some(), "{refusal}");
    }
}

#[test]
fn locked_memory_matters_only_where_maps_count_against_it() {
    let small = Memlock {
        soft: 64 << 10,
        hard: 64 << 10,
    };
    let large = Memlock {
        soft: 64 << 10,
        hard: 64 << 20,
    };
    let denied = Calls {
        reach: libc::E2BIG,
        create: libc::EPERM,
    };
    let granted = Calls {
        reach: libc::E2BIG,
        create: 0,
    };
    let plain = Capabilities::of(&[Capability::Bpf, Capability::Perfmon]);
    let raising = Capabilities::of(&[Capability::SysAdmin, Capability::SysResource]);
    for (kernel, capabilities, memlock, calls, obstacle) in [
        ("5.10", plain, small, granted, Some(Obstacle::Memlock)),
        ("5.10", plain, small, denied, Some(Obstacle::Memlock)),
        ("5.10", plain, large, denied, None),
        ("5.10", raising, small, denied, None),
        ("6.1", plain, small, granted, None),
        (
            "6.1",
            raising,
            large,
            denied,
            Some(Obstacle::Bpf(Access::Denied)),
        ),
    ] {
        let plan = with(kernel, |facts| {
            facts.capabilities = capabilities;
            facts.memlock = memlock;
            facts.bpf = calls;
        });
        assert_eq!(
            plan.refusal(),
            obstacle.as_ref(),
            "{kernel} {memlock:?} {calls:?}"
        );
    }
}

#[test]
fn a_btf_file_of_another_kernel_is_found_out_by_the_tracepoint() {
    let given = |kernel, other| {
        with(kernel, |facts| {
            facts.btf_path = "/tmp/other.btf".into();
            facts.btf = Ok(recorded::layout(other));
        })
    };
    let plan = given("5.10", "6.1");
    assert_eq!(marks(&plan), [Tracepoint { pid_offset: 8 }]);
    assert_eq!(mark(&plan, RawTp).obstacle, Some(Obstacle::ForeignBtf));
    assert_eq!(contexts(&plan), []);
    assert_eq!(marks(&given("6.1", "5.10")), [Tracepoint { pid_offset: 8 }]);
    assert_eq!(marks(&given("6.1", "6.1"))[0], RawTp);
}

#[test]
fn obstacles_are_one_line() {
    for kernel in KERNELS {
        let plan = with(kernel, |facts| facts.btf = Err("no BTF".into()));
        for candidate in &plan.marks {
            let text = candidate
                .obstacle
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let remedy = candidate
                .obstacle
                .as_ref()
                .and_then(Obstacle::remedy)
                .unwrap_or_default();
            assert!(!text.contains('\n') && !remedy.contains('\n') && !remedy.contains("  "));
        }
    }
}
