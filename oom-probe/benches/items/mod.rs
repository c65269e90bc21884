//! The steps of one kill's way, on made-up input: what `steps` takes the time of and `instructions`
//! the work.

#[expect(
    dead_code,
    reason = "the pods of the tests can be more than is needed here"
)]
#[path = "../../src/kube/fixture.rs"]
mod pods;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytemuck::Zeroable as _;
use oom_probe::{
    attribution::attributor::{Attributor, Config},
    capture::{
        assemble::{Assembler, Machine},
        record::{decode, encode},
    },
    cgroup::{node::NodeCgroups, path},
    http::exposition::{self, Encoding, Format},
    kube::{PodEvent, object},
    model::kill::Kill,
    sinks::metrics::{Metrics, containers::Containers},
};
use oom_probe_common::{
    ABI_VERSION,
    record::{Body, Header, Level, flag, hook, kind, level, valid},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// Pods of the node, each with one container.
const PODS: u32 = 250;

/// Does a step's work on all of its items, once.
pub(crate) type Work = Box<dyn FnMut()>;

/// A step, and how its work on so many items is made ready.
pub(crate) type Step = (&'static str, fn(u32) -> Work);

/// All of them, in the order of a kill's way.
pub(crate) const STEPS: [Step; 5] = [
    ("decode", decoding),
    ("path", paths),
    ("assemble", assembling),
    ("attribute", attributing),
    ("scrape", scraping),
];

fn decoding(items: u32) -> Work {
    let records = records(items);
    Box::new(move || {
        for record in &records {
            let _ = black_box(decode(record));
        }
    })
}

fn paths(items: u32) -> Work {
    let paths: Vec<_> = (0..items).map(path).collect();
    Box::new(move || {
        for path in &paths {
            black_box(path::parse(path.iter().map(String::as_bytes)));
        }
    })
}

fn assembling(items: u32) -> Work {
    let records = records(items);
    let mut assembler = assembler();
    let mut kills = Vec::with_capacity(records.len());
    Box::new(move || {
        for bytes in &records {
            let record = decode(bytes).expect("it was made so");
            assembler.push(&record, bytes, &mut kills);
        }
        assembler.release(u64::MAX, &mut kills);
        black_box(&kills);
    })
}

fn attributing(items: u32) -> Work {
    let now = Instant::now();
    let mut attributor = Attributor::new(Config {
        kubernetes: true,
        node: NodeCgroups::default(),
    });
    attributor.on_pods(PodEvent::ListStarts, now);
    for n in 0..PODS {
        attributor.on_pods(PodEvent::Listed(Box::new(pod(n))), now);
    }
    attributor.on_pods(PodEvent::Synced { listed: true }, now);
    let mut kills = kills(items);
    Box::new(move || {
        for kill in kills.drain(..) {
            black_box(attributor.on_kill(kill, now));
        }
    })
}

fn scraping(items: u32) -> Work {
    let now = Instant::now();
    let (_metrics, mut registry): (Metrics, Registry) = Metrics::new();
    let containers = Containers::new(Duration::from_secs(3600), 10_000, Counter::default());
    registry.register_collector(Box::new(containers.clone()));
    let mut attributor = Attributor::new(Config::default());
    for n in 0..PODS {
        let change = attributor.on_pods(PodEvent::Applied(Box::new(pod(n))), now);
        let applied = change.applied.expect("it is a pod of this node");
        containers.apply(&applied, now);
    }
    Box::new(move || {
        for _ in 0..items {
            let body = exposition::encode(&registry, Format::Text, Encoding::Identity);
            black_box(body.expect("memory does not fail"));
        }
    })
}

fn assembler() -> Assembler {
    Assembler::new(Machine {
        node: "node-1".into(),
        boot: "deadbeef".into(),
        page_size: 4096,
        clock_ns: 0,
        cgroups: NodeCgroups::default(),
    })
}

fn kills(items: u32) -> Vec<Kill> {
    let (mut assembler, mut out) = (assembler(), Vec::new());
    for bytes in records(items) {
        let record = decode(&bytes).expect("it was made so");
        assembler.push(&record, &bytes, &mut out);
    }
    assembler.release(u64::MAX, &mut out);
    assert_eq!(out.len(), items as usize, "each is a kill of its own");
    out.into_iter().map(|killed| killed.kill).collect()
}

fn pod(n: u32) -> object::Pod {
    let pod = pods::pod(&format!("cart-{n}"), n).running("app", n);
    serde_json::from_value(pod.0).expect("it is a pod")
}

/// Leaf first, as the systemd driver names them; the root has no name.
fn path(n: u32) -> [String; 5] {
    let n = n % PODS;
    let uid = pods::uid(n).replace('-', "_");
    [
        format!("cri-containerd-{}.scope", pods::container_id(n)),
        format!("kubepods-burstable-pod{uid}.slice"),
        "kubepods-burstable.slice".to_owned(),
        "kubepods.slice".to_owned(),
        String::new(),
    ]
}

/// Marks of as many processes, one second apart, in one container each.
fn records(items: u32) -> Vec<Vec<u8>> {
    (1..=items)
        .map(|n| {
            let mut body = Body::zeroed();
            body.valid = valid::ALL;
            body.flags = flag::V2;
            body.victim.tgid = n;
            body.victim.tid = n;
            body.victim.start_time_ns = n.into();
            body.victim.mm = n.into();
            body.victim.comm[..6].copy_from_slice(b"python");
            let levels: Vec<_> = path(n)
                .into_iter()
                .zip(1..)
                .map(|(name, at)| {
                    let mut level = Level::zeroed();
                    level.id = 1000 - at;
                    level.usage = 10;
                    level.max = 10;
                    level.memory = level::MEMORY;
                    (level, name.into_bytes())
                })
                .collect();
            body.memcg = levels[0].0.id;
            body.dfl_cgroup = body.memcg;
            body.trigger.memcg = body.memcg;
            let header = Header {
                version: ABI_VERSION,
                kind: kind::MARK,
                hook: hook::RAW_TP,
                len: 0,
                time_ns: u64::from(n) * 1_000_000_000,
                current_tgid: n,
                current_tid: n,
            };
            encode::task(header, body, [&levels, &[], &[]])
        })
        .collect()
}
