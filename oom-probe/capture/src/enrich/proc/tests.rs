//! Texts of `/proc` as a 6.18 kernel (memory on v1) and Debian 12's 6.1 (v2) show them.

use oom_probe_common::record::hook;

use super::*;
use crate::{
    fixture::RecordBuilder,
    model::cgroup_path::CgroupPath,
    record::{Payload, Task, decode},
};

const STATUS: &str = "\
Name:\tpy\\\\thon\\n 3
Umask:\t0022
State:\tR (running)
Tgid:\t6159
Ngid:\t0
Pid:\t6160
PPid:\t6112
TracerPid:\t0
Uid:\t1000\t1001\t1001\t1001
Gid:\t0\t0\t0\t0
FDSize:\t256
Groups:\t
NStgid:\t6159\t40\t7
NSpid:\t6160\t41\t8
NSpgid:\t6112\t1\t1
NSsid:\t7348\t1\t1
Kthread:\t0
VmPeak:\t    3060 kB
VmSize:\t    3060 kB
VmRSS:\t    1728 kB
RssAnon:\t     112 kB
RssFile:\t    1616 kB
RssShmem:\t       8 kB
VmPTE:\t      40 kB
VmSwap:\t       4 kB
Threads:\t2
";
/// The same once it has given up its mm.
const STATUS_DYING: &str = "Name:\tpython\nState:\tZ (zombie)\nTgid:\t6159\nUid:\t0\t0\t0\t0\n";
const STAT: &str = "6159 (a) b) (c) R 6112 6112 7348 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 1 0 847389 \
                    3133440 363 18446744073709551615 94201943666688 0 0 0 0\n";
const UNITS: Units = Units {
    page_size: 4096,
    ticks: 100,
};
/// After the start in [`STAT`], ns.
const MARK_NS: u64 = 8_473_890_000_000 + 5;

const V2: &str = "0::/kubepods.slice/kubepods-pod1.slice/app.scope\n";
const V1: &str = "9:name=systemd:/\n8:pids:/p\n4:cpu,memory:/kubepods/pod1/app\n0::/elsewhere\n";

fn files(cgroup: &str, status: &str, stat: &str) -> Files {
    let text = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
    Files {
        cgroup: text(cgroup),
        status: text(status),
        oom_score_adj: text("-998\n"),
        pid_ns: Some("pid:[4026532281]".into()),
        leader_stat: text(stat),
    }
}

fn with_task<T>(files: &Files, check: impl FnOnce(Task<'_>) -> T) -> T {
    let bare = RecordBuilder::mark_tid(6160)
        .hook(hook::TRACEPOINT)
        .at(MARK_NS)
        .build();
    let mark = decode(&bare).unwrap().header;
    // All cgroups are there but this one.
    let id_of = |names: &[&[u8]]| match names.first() {
        Some(&b"c (deleted)") => 0,
        _ => names.len() as u64 + 70,
    };
    let bytes = record(mark, 6160, files, UNITS, id_of);
    let record = decode(&bytes).unwrap();
    assert_eq!(record.header.hook, hook::TRACEPOINT);
    let Payload::Mark(task) = record.payload else {
        panic!("no mark: {record:?}");
    };
    assert_eq!(task.body.victim.tid, 6160);
    check(task)
}

#[test]
fn everything_that_is_there_is_taken() {
    with_task(&files(V2, STATUS, STAT), |task| {
        let victim = task.body.victim;
        assert_eq!(victim.tgid, 6159);
        assert_eq!(victim.start_time_ns, 8_473_890_000_000);
        assert_eq!(&victim.comm[..12], b"py\\thon\n 3\0\0");
        assert_eq!(victim.uid, 1000);
        assert_eq!(victim.oom_score_adj, -998);
        assert_eq!((victim.pid_ns_level, victim.ns_pid), (2, 7));
        assert_eq!(victim.pid_ns_inum, 4_026_532_281);
        // 1616, 112, 4 and 8 KiB.
        assert_eq!(victim.rss, [404, 28, 1, 2]);
        assert_eq!(victim.total_vm, 765);
        assert_eq!(victim.pgtables_bytes, 40 * 1024);
        assert_eq!(task.body.flags, flag::V2);
        let levels: Vec<_> = task.path.iter().map(|at| (at.level.id, at.name)).collect();
        let want: [(u64, &[u8]); 4] = [
            (73, b"app.scope"),
            (72, b"kubepods-pod1.slice"),
            (71, b"kubepods.slice"),
            (70, b""),
        ];
        assert_eq!(levels, want);
    });
}

#[test]
fn what_is_gone_is_absent_and_the_rest_is_taken() {
    let sizes = valid::RSS | valid::TOTAL_VM | valid::PGTABLES;
    with_task(&files(V2, STATUS_DYING, STAT), |task| {
        assert_eq!(task.body.valid & (sizes | valid::PID_NS), 0);
        assert_ne!(task.body.valid & valid::COMM, 0);
        assert_eq!(task.path.len(), 4);
    });
    let released = "Name:\tpython\nTgid:\t0\nUid:\t0\t0\t0\t0\nNStgid:\t0\n";
    with_task(&files(V2, released, ""), |task| {
        assert_eq!(task.body.victim.tgid, 6160, "its ids are given back");
        assert_eq!(task.body.valid & valid::PID_NS, 0);
    });
    with_task(&files(V2, "", ""), |task| {
        assert_eq!(task.body.victim.tgid, 6160, "the thread stands for it");
        assert_eq!(
            task.body.valid & (valid::START_TIME | valid::COMM | valid::UID),
            0
        );
        assert_eq!(task.path.len(), 4);
    });
    with_task(&Files::default(), |task| {
        assert_eq!(task.body.valid, valid::IDS);
        assert!(task.path.is_empty());
    });
}

#[test]
fn a_process_that_was_started_after_the_mark_is_another() {
    let later = STAT.replace(" 847389 ", " 847390 ");
    with_task(&files(V2, STATUS, &later), |task| {
        assert_eq!(task.body.valid, valid::IDS);
        assert_eq!(task.body.victim.tgid, 6160);
        assert!(task.path.is_empty());
    });
}

#[test]
fn the_memory_cgroup_is_that_of_the_hierarchy_with_the_controller() {
    for (cgroup, want) in [
        (V2, Some("/kubepods.slice/kubepods-pod1.slice/app.scope")),
        (V1, Some("/kubepods/pod1/app")),
        ("0::/\n", Some("/")),
        ("0::/a:b/c (deleted)\n", Some("/a:b/c")),
        (
            "0::/a:b/that is its name (deleted)\n",
            Some("/a:b/that is its name (deleted)"),
        ),
        // What an exiting task shows on v1.
        ("4:memory:/\n0::/kubepods/pod1\n", None),
        ("4:memory2:/a\n", None),
        ("0::/../../x\n", None),
        ("0::\n", None),
        ("what\n", None),
    ] {
        let path = with_task(&files(cgroup, STATUS, STAT), |task| {
            (!task.path.is_empty())
                .then(|| CgroupPath::from_levels(task.path.iter().map(|at| at.name)).to_string())
        });
        assert_eq!(path.as_deref(), want, "{cgroup:?}");
    }
}

#[test]
fn the_unit_is_that_of_systemds_own_hierarchy_on_v1() {
    for (cgroup, want) in [
        (
            "9:name=systemd:/system.slice/legacy-app.service\n4:memory:/system.slice\n0::/\n",
            Some("/system.slice/legacy-app.service"),
        ),
        ("9:name=systemd:/\n4:memory:/system.slice\n", None),
        ("4:memory:/system.slice\n0::/system.slice/x.service\n", None),
        ("9:name=systemd:/a/b.service\n0::/a\n", None),
    ] {
        let path = with_task(&files(cgroup, STATUS, STAT), |task| {
            let names = task.unit_path.iter().map(|at| at.name);
            (!task.unit_path.is_empty()).then(|| CgroupPath::from_levels(names).to_string())
        });
        assert_eq!(path.as_deref(), want, "{cgroup:?}");
    }
}

#[test]
fn malformed_texts_are_absent() {
    for (status, stat) in [
        ("Tgid:\tx\nUid:\t\nNStgid:\t\nName:\t", "1 (a"),
        (
            "Tgid:\t-1\nNStgid:\t1\tx\nVmSize:\tmuch kB\n",
            "1 (a) R 1 2 3",
        ),
        (
            "Uid:\t99999999999\n",
            ") ) 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x",
        ),
    ] {
        with_task(&files(V2, status, stat), |task| {
            let absent = valid::START_TIME | valid::UID | valid::PID_NS | valid::RSS;
            assert_eq!(task.body.valid & absent, 0, "{status:?}");
            assert_eq!(task.body.victim.tgid, 6160);
        });
    }
}

#[test]
fn this_very_process_can_be_read() {
    let tid = std::process::id();
    let files = Files::read(Path::new("/proc"), tid);
    let status = Status::parse(files.status.as_deref().expect("it runs"));
    assert_eq!(status.tgid, Some(tid));
    assert!(status.sizes.is_some_and(|sizes| sizes.total > 0));
    assert!(
        files
            .leader_stat
            .as_deref()
            .and_then(parse::start_ticks)
            .is_some()
    );
}
