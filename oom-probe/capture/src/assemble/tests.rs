//! The assembler, told sequences of records as the kernel writes them (mm/oom_kill.c).

mod afterwards;
mod any_order;
mod deep;
mod exits;
mod group;
mod limits;
mod processes;
mod referee;
mod roles;
mod settled;
mod shared;
mod under_way;
mod units;

use crate::{
    cgroup::node::NodeCgroups,
    fixture::{PAGE, RecordBuilder},
    model::labels::Limit,
    record::decode,
};
use bytemuck::Zeroable;
use oom_probe_common::record::{Domain, domain, level};

use super::*;

/// `CLOCK_BOOTTIME` of the first record where nothing else is said, ns.
const START_NS: u64 = 1_000_000_000;
/// The thread whose allocation hit the limit, where it is no victim.
const TRIGGER: u32 = 50;

/// A container of a Burstable pod by the systemd driver, leaf first.
const CONTAINER: [&str; 5] = [
    "cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
    "kubepods-burstable-pod8d4f1b0e_4f1a_4c7e_9a53_6f0c1d2e3b4a.slice",
    "kubepods-burstable.slice",
    "kubepods.slice",
    "",
];
/// Ids that [`RecordBuilder::path`] gives the levels of [`CONTAINER`].
const CONTAINER_ID: u64 = 996;

/// An assembler and what it has made of its records.
struct Run {
    assembler: Assembler,
    killed: Vec<Killed>,
}

impl Run {
    fn new(witness: Witness) -> Self {
        let mut assembler = Assembler::new(Machine {
            node: "node-1".into(),
            boot: "c0ffee00".into(),
            page_size: PAGE,
            clock_ns: 0,
            cgroups: NodeCgroups::default(),
        });
        assembler.set_witness(witness);
        Self {
            assembler,
            killed: Vec::new(),
        }
    }

    fn take(&mut self, record: RecordBuilder) {
        let bytes = record.build();
        let record = decode(&bytes).expect("made to be valid");
        self.assembler.push(&record, &bytes, &mut self.killed);
    }

    /// Time goes by without a record.
    fn wait(&mut self, until_ns: u64) {
        self.assembler.release(until_ns, &mut self.killed);
    }

    /// Process id and role of each kill, in order.
    fn roles(&self) -> Vec<(u32, Role)> {
        let roles = self
            .killed
            .iter()
            .map(|killed| (killed.kill.victim.pid, killed.kill.role));
        roles.collect()
    }

    /// Number of the OOM event of each kill, counted by their ids.
    fn events(&self) -> Vec<usize> {
        let ids: Vec<_> = self
            .killed
            .iter()
            .map(|killed| &killed.kill.event)
            .collect();
        let first = |id: &String| ids.iter().position(|other| *other == id);
        ids.iter()
            .map(|id| first(id).expect("it is there"))
            .collect()
    }

    /// Kills that open an event.
    fn opened(&self) -> usize {
        self.killed
            .iter()
            .filter(|killed| killed.opens_event)
            .count()
    }
}

/// All records to a new assembler with a signal hook that missed nothing, and then nothing more.
fn run(records: impl IntoIterator<Item = RecordBuilder>) -> Run {
    run_with(Witness::Reliable, records)
}

fn run_with(witness: Witness, records: impl IntoIterator<Item = RecordBuilder>) -> Run {
    let mut run = Run::new(witness);
    for record in records {
        run.take(record);
    }
    run.wait(u64::MAX);
    run
}

/// The one kill of these records.
fn kill_of(records: impl IntoIterator<Item = RecordBuilder>) -> Kill {
    let run = run(records);
    let [Killed { kill, .. }] = &run.killed[..] else {
        panic!("not one kill: {:?}", run.killed);
    };
    kill.clone()
}

/// SIGKILL to a process, and its mark: the kill of one process whose limit [`CONTAINER`] has.
fn killed(tgid: u32) -> [RecordBuilder; 2] {
    [RecordBuilder::signal(tgid), in_full_container(tgid)]
}

fn in_full_container(tgid: u32) -> RecordBuilder {
    RecordBuilder::mark(tgid)
        .path(&CONTAINER)
        .level(0, |at| at.max = at.usage)
}

/// The same where the container wants all of its processes killed.
fn in_group(tgid: u32) -> RecordBuilder {
    in_full_container(tgid).level(0, |at| at.memory |= level::OOM_GROUP)
}

/// `oom_control` of an OOM event in that memory cgroup, used up to its limit.
fn memcg(id: u64) -> Domain {
    Domain {
        valid: domain::MEMCG | domain::CONSTRAINT | domain::ORDER | domain::POINTS,
        memcg: id,
        usage: 10,
        max: 10,
        points: 7,
        constraint: 3,
        ..Domain::zeroed()
    }
}

/// The records between entry and return of `oom_kill_process`.
fn within(records: impl IntoIterator<Item = RecordBuilder>) -> Vec<RecordBuilder> {
    let begin = RecordBuilder::begin(memcg(CONTAINER_ID)).current(TRIGGER);
    let inner = records.into_iter().map(|record| record.current(TRIGGER));
    let end = RecordBuilder::end().current(TRIGGER);
    std::iter::once(begin).chain(inner).chain([end]).collect()
}

/// What the assembler's counts must always add up to.
fn assert_balanced(counts: Counts) {
    assert_eq!(
        counts.marks,
        counts.marked_kills + counts.exiting + counts.marked_again,
        "{counts:?}"
    );
}
