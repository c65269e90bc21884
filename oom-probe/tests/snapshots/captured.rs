//! Kill records from what the kernel programs write: decoded, assembled and attributed.
//!
//! The records of `kills` show every shape that a text can have; these show how they come about.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use crate::apiserver::pods::{PodJson, container_id, container_path, pod, uid};
use bytemuck::{Zeroable, bytes_of};
use capture::{
    assemble::{Assembler, Machine, Witness},
    cgroup::node::NodeCgroups,
    model::kill::Record,
    record::{
        decode,
        encode::{self, NamedLevel},
    },
};
use jiff::tz::TimeZone;
use oom_probe::{
    attribution::attributor::{Attributor, Config, Decision},
    kube::PodEvent,
    sinks::log::line,
};
use oom_probe_common::{
    ABI_VERSION,
    record::{Body, Domain, Header, Level, Target, domain, flag, hook, kind, level, valid},
};

use super::hold;

/// Pages of 256 MiB, and what no limit is.
const LIMIT: u64 = 65_536;
const UNLIMITED: u64 = i64::MAX as u64 / 4096;
/// `PF_KTHREAD`.
const KERNEL_THREAD: u32 = 0x0020_0000;
/// Longer than a kill waits for its pod.
const LATER: Duration = Duration::from_secs(3600);

/// An OOM event as it is put into the ring.
struct Oom {
    what: &'static str,
    /// The victims' cgroup.
    path: Vec<u8>,
    /// The level of it that is full, from the leaf; else the whole machine is.
    full: Option<usize>,
    /// What the kernel says of the domain; it is inferred where that is absent.
    domain: Option<Domain>,
    hook: u8,
    victims: Vec<Victim>,
    change: fn(&mut Body, &mut [NamedLevel]),
}

#[derive(Clone, Copy)]
struct Victim {
    pid: u32,
    /// In its container.
    ns_pid: u32,
    comm: &'static [u8],
    kind: u8,
}

const fn victim(pid: u32, ns_pid: u32, comm: &'static [u8]) -> Victim {
    Victim {
        pid,
        ns_pid,
        comm,
        kind: kind::MARK,
    }
}

/// The level of that number from the leaf, for the kernel's own word.
fn memcg(level: u64) -> Option<Domain> {
    Some(Domain {
        valid: domain::MEMCG | domain::CONSTRAINT | domain::ORDER | domain::POINTS,
        memcg: 100 + level,
        usage: LIMIT,
        max: LIMIT,
        points: 59_392,
        constraint: 3,
        ..Domain::zeroed()
    })
}

fn machine(constraint: u32, order: i32) -> Option<Domain> {
    Some(Domain {
        valid: domain::GLOBAL | domain::CONSTRAINT | domain::ORDER | domain::POINTS,
        points: 59_392,
        constraint,
        order,
        ..Domain::zeroed()
    })
}

fn of(what: &'static str, path: impl Into<Vec<u8>>, full: Option<usize>) -> Oom {
    Oom {
        what,
        path: path.into(),
        full,
        domain: full.map_or_else(|| machine(0, 0), |full| memcg(full as u64)),
        hook: hook::RAW_TP,
        victims: vec![victim(4711, 27, b"python3")],
        change: |_, _| (),
    }
}

fn ooms() -> Vec<Oom> {
    let app = container_path(&uid(1), 1);
    let proxy = container_path(&uid(1), 2);
    vec![
        of("a child at its container's limit", app.clone(), Some(0)),
        Oom {
            domain: None,
            ..of("the same, inferred", app.clone(), Some(0))
        },
        Oom {
            victims: vec![
                victim(10, 1, b"sh"),
                victim(11, 2, b"worker"),
                victim(12, 3, b"worker"),
            ],
            change: |_, levels| levels[0].0.memory |= level::OOM_GROUP,
            ..of("a container whole", proxy.clone(), Some(0))
        },
        Oom {
            victims: vec![
                victim(20, 8, b"java"),
                Victim {
                    kind: kind::SIGNAL_WHOLE,
                    ..victim(21, 9, b"vfork")
                },
            ],
            ..of("one that shares memory", app.clone(), Some(0))
        },
        of("at the pod's limit", proxy.clone(), Some(1)),
        of("at a limit above the pod", app.clone(), Some(2)),
        Oom {
            change: |_, levels| levels[0].0.usage = 2 * LIMIT,
            domain: memcg(0).map(|at| Domain {
                usage: 2 * LIMIT,
                ..at
            }),
            ..of("a limit that was lowered", app.clone(), Some(0))
        },
        Oom {
            change: |body, _| {
                body.trigger.memcg = 999;
                body.trigger.flags = KERNEL_THREAD;
                body.trigger.comm[..8].copy_from_slice(b"kswapd0\0");
            },
            ..of("the whole machine", app.clone(), None)
        },
        Oom {
            domain: machine(0, -1),
            ..of("asked for by SysRq", app.clone(), None)
        },
        Oom {
            domain: machine(1, 0),
            ..of("a cpuset", app.clone(), None)
        },
        Oom {
            domain: machine(2, 0),
            ..of("a memory policy", app, None)
        },
        of(
            "a pod's own cgroup",
            format!("/kubepods/burstable/pod{}", uid(1)),
            Some(0),
        ),
        of(
            "a pod that nobody knows",
            container_path(&uid(9), 9),
            Some(0),
        ),
        of("a unit", "/system.slice/nginx.service", Some(0)),
        of(
            "a container outside Kubernetes",
            format!("/docker/{}", container_id(7)),
            Some(0),
        ),
        Oom {
            victims: vec![victim(30, 2, b"x\n\x1b[2J\xff\xe2\x80\xae")],
            change: |body, _| body.flags |= flag::TRUNCATED,
            ..of(
                "names made to deceive",
                *b"/a\n\xff/\xe2\x80\xae\\",
                Some(0),
            )
        },
        Oom {
            change: |body, _| body.flags |= flag::NAMELESS,
            ..of("without names", "/a/b", Some(0))
        },
        Oom {
            change: |body, _| {
                body.valid = valid::IDS | valid::MEMCG;
                body.flags = 0;
            },
            ..of("of a kernel that tells little", "/a/b", Some(0))
        },
        // Completed from /proc, as the daemon does it.
        Oom {
            domain: None,
            hook: hook::TRACEPOINT,
            change: |body, _| body.valid = valid::IDS | valid::START_TIME | valid::COMM,
            ..of("by the plain tracepoint", proxy, Some(0))
        },
    ]
}

/// Leaf first, down to the root's, which has no name. The numbers are those that [`memcg`] means.
fn levels(oom: &Oom) -> Vec<NamedLevel> {
    let names = oom.path.rsplit(|byte| *byte == b'/');
    let level = |(n, name): (usize, &[u8])| {
        let max = if oom.full == Some(n) {
            LIMIT
        } else {
            UNLIMITED
        };
        let level = Level {
            id: 100 + n as u64,
            usage: LIMIT,
            max,
            memsw_usage: LIMIT,
            memsw_max: UNLIMITED,
            memory: level::MEMORY | level::MEMSW | level::GROUP_KNOWN,
            ..Level::zeroed()
        };
        (level, name.to_vec())
    };
    names.enumerate().map(level).collect()
}

/// The records of the event that comes as number `n`, a second after the one before it.
fn ring(n: u32, oom: &Oom) -> Vec<Vec<u8>> {
    let header = |kind| Header {
        version: ABI_VERSION,
        kind,
        hook: oom.hook,
        len: 0,
        time_ns: u64::from(100 + n) * 1_000_000_000,
        current_tgid: 50,
        current_tid: 51,
    };
    let mut records = Vec::new();
    if let Some(domain) = &oom.domain {
        records.push(encode::record(header(kind::BEGIN), bytes_of(domain)));
    }
    for at in &oom.victims {
        let mut body = Body::zeroed();
        let mut path = levels(oom);
        body.valid = valid::ALL;
        body.flags = flag::V2;
        body.memcg = path[0].0.id;
        body.dfl_cgroup = body.memcg;
        body.trigger.memcg = body.memcg;
        body.trigger.comm[..5].copy_from_slice(b"node\0");
        let victim = &mut body.victim;
        (victim.tgid, victim.tid) = (1000 * n + at.pid, 1000 * n + at.pid);
        victim.start_time_ns = u64::from(50 + n) * 1_000_000_000 + u64::from(at.pid);
        // That of the first victim, for those that share it.
        victim.mm = u64::from(if at.kind == kind::SIGNAL_WHOLE {
            oom.victims[0].pid
        } else {
            at.pid
        });
        victim.comm[..at.comm.len()].copy_from_slice(at.comm);
        (victim.uid, victim.oom_score_adj) = (1000, 985);
        (victim.total_vm, victim.pgtables_bytes) = (98_304, 1_048_576);
        victim.rss = [1, 59_238, 0, 25_600];
        (victim.pid_ns_level, victim.pid_ns_inum, victim.ns_pid) = (1, 4_026_532_000, at.ns_pid);
        // A container's first process is started from outside of it.
        victim.parent_memcg = if at.ns_pid == 1 { 998 } else { body.memcg };
        (oom.change)(&mut body, &mut path);
        let target = Target {
            valid: valid::IDS | valid::START_TIME | valid::MM,
            tgid: body.victim.tgid,
            tid: body.victim.tid,
            start_time_ns: body.victim.start_time_ns,
            mm: body.victim.mm,
        };
        let task = |kind| encode::task(header(kind), body, [&path, &[], &[]]);
        match at.kind {
            kind::MARK => {
                records.push(encode::record(header(kind::SIGNAL), bytes_of(&target)));
                records.push(task(kind::MARK));
            }
            other => records.push(task(other)),
        }
    }
    if oom.domain.is_some() {
        records.push(encode::record(header(kind::END), &[]));
    }
    records
}

fn assembler() -> Assembler {
    let mut assembler = Assembler::new(Machine {
        node: "node-1".into(),
        boot: "3b8a1c9e".into(),
        page_size: 4096,
        // 2025-11-20T12:00:00Z
        clock_ns: 1_763_640_000_000_000_000,
        cgroups: NodeCgroups::default(),
    });
    assembler.set_witness(Witness::Reliable);
    assembler
}

fn attributor(pods: &[PodJson]) -> Attributor {
    let now = Instant::now();
    let mut attributor = Attributor::new(Config {
        kubernetes: true,
        node: NodeCgroups::default(),
    });
    attributor.on_pods(PodEvent::ListStarts, now);
    for pod in pods {
        let object = serde_json::from_value(pod.0.clone()).unwrap();
        attributor.on_pods(PodEvent::Listed(Box::new(object)), now);
    }
    attributor.on_pods(PodEvent::Synced { listed: true }, now);
    attributor
}

#[test]
fn from_the_ring_to_the_record() {
    let cart = pod("cart-7d9f8b6c5d-x2x9z", 1)
        .of_deployment("cart")
        .sidecar("proxy")
        .running("app", 1)
        .running("proxy", 2);
    let mut attributor = attributor(&[cart]);
    let mut assembler = assembler();
    let mut text = String::new();
    for (n, oom) in (0..).zip(ooms()) {
        writeln!(text, "{}:", oom.what).unwrap();
        let mut killed = Vec::new();
        for bytes in ring(n, &oom) {
            let record = decode(&bytes).unwrap();
            assembler.push(&record, &bytes, &mut killed);
        }
        assembler.release(u64::MAX, &mut killed);
        assert_eq!(killed.len(), oom.victims.len(), "{}", oom.what);
        for killed in killed {
            let opens = if killed.opens_event {
                "opens"
            } else {
                "goes on"
            };
            match attributor.on_kill(killed.kill, Instant::now()) {
                Decision::Record(record) => add(&record, opens, &mut text),
                Decision::Parked { scope, .. } => {
                    writeln!(text, "parked, {scope}").unwrap();
                    for record in attributor.tick(Instant::now() + LATER) {
                        add(&record, opens, &mut text);
                    }
                }
                Decision::OtherNode(kill) => writeln!(text, "another node's: {}", kill.id).unwrap(),
            }
        }
    }
    hold("captured.txt", &text);
}

fn add(record: &Record, opens: &str, text: &mut String) {
    let json = serde_json::to_string_pretty(record).unwrap();
    writeln!(
        text,
        "{}\n{opens} its event {json}",
        line(record, &TimeZone::UTC)
    )
    .unwrap();
}
