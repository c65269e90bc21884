//! Ring records made by hand, for tests of what comes after the ring.

use bytemuck::{Zeroable, bytes_of};
use oom_probe_common::{
    ABI_VERSION,
    record::{Body, Domain, Header, Level, Target, flag, hook, kind, level, valid},
};

use crate::record::encode::{self, NamedLevel};

/// Bytes of a page on the machines of the tests.
pub(crate) const PAGE: u64 = 4096;
/// `PAGE_COUNTER_MAX` in pages.
pub(crate) const UNLIMITED: u64 = i64::MAX as u64 / PAGE;

/// Builds one record: of a victim that is its own trigger, unless told otherwise.
#[derive(Clone, Debug)]
pub(crate) struct RecordBuilder {
    header: Header,
    body: Body,
    target: Target,
    domain: Domain,
    path: Vec<NamedLevel>,
    trigger_path: Vec<NamedLevel>,
    unit_path: Vec<NamedLevel>,
}

impl RecordBuilder {
    fn new(kind: u8, tgid: u32) -> Self {
        let mut body = Body::zeroed();
        body.valid = valid::ALL;
        body.flags = flag::V2;
        body.victim.tgid = tgid;
        body.victim.tid = tgid;
        body.victim.start_time_ns = u64::from(tgid) * 1000;
        body.victim.mm = 0xffff_0000_0000_0000 + u64::from(tgid);
        body.victim.comm[..6].copy_from_slice(b"python");
        let target = Target {
            valid: valid::IDS | valid::START_TIME | valid::MM,
            tgid,
            tid: tgid,
            start_time_ns: body.victim.start_time_ns,
            mm: body.victim.mm,
        };
        let header = Header {
            version: ABI_VERSION,
            kind,
            hook: hook::RAW_TP,
            len: 0,
            time_ns: 1_000_000_000,
            current_tgid: tgid,
            current_tid: tgid,
        };
        Self {
            header,
            body,
            target,
            domain: Domain::zeroed(),
            path: Vec::new(),
            trigger_path: Vec::new(),
            unit_path: Vec::new(),
        }
    }

    /// `mark_victim` of a whole victim.
    pub(crate) fn mark(tgid: u32) -> Self {
        Self::new(kind::MARK, tgid)
    }

    /// `mark_victim` with a bare thread id.
    pub(crate) fn mark_tid(tid: u32) -> Self {
        Self::new(kind::MARK_TID, tid)
    }

    /// SIGKILL to a task that a mark describes.
    pub(crate) fn signal(tgid: u32) -> Self {
        Self::new(kind::SIGNAL, tgid)
    }

    /// SIGKILL to a thread of which the plain tracepoint tells no more than the id.
    pub(crate) fn signal_tid(tid: u32) -> Self {
        let record = Self::new(kind::SIGNAL, tid);
        let target = Target {
            valid: valid::IDS,
            tid,
            ..Target::zeroed()
        };
        Self { target, ..record }.hook(hook::TRACEPOINT)
    }

    /// SIGKILL to a task that no mark describes.
    pub(crate) fn signal_whole(tgid: u32) -> Self {
        Self::new(kind::SIGNAL_WHOLE, tgid)
    }

    /// Entry of `oom_kill_process`.
    pub(crate) fn begin(domain: Domain) -> Self {
        Self {
            domain,
            ..Self::new(kind::BEGIN, 0)
        }
    }

    /// Return of `oom_kill_process`.
    pub(crate) fn end() -> Self {
        Self::new(kind::END, 0)
    }

    /// In the context of that task.
    pub(crate) fn current(mut self, tid: u32) -> Self {
        (self.header.current_tgid, self.header.current_tid) = (tid, tid);
        self
    }

    /// In the context of that thread of that process.
    pub(crate) fn process(mut self, tgid: u32, tid: u32) -> Self {
        (self.header.current_tgid, self.header.current_tid) = (tgid, tid);
        self
    }

    /// At that time after boot.
    pub(crate) fn at(mut self, time_ns: u64) -> Self {
        self.header.time_ns = time_ns;
        self
    }

    /// With that mm.
    pub(crate) fn mm(mut self, mm: u64) -> Self {
        (self.body.victim.mm, self.target.mm) = (mm, mm);
        self
    }

    /// Of that thread, not of the process's leader.
    pub(crate) fn tid(mut self, tid: u32) -> Self {
        (self.body.victim.tid, self.target.tid) = (tid, tid);
        self
    }

    /// Of a process that was started at that time after boot.
    pub(crate) fn started(mut self, time_ns: u64) -> Self {
        self.body.victim.start_time_ns = time_ns;
        self.target.start_time_ns = time_ns;
        self
    }

    /// By a task that is exiting.
    pub(crate) fn by_exiting(mut self) -> Self {
        self.target.valid |= valid::TRIGGER_EXITING;
        self
    }

    /// By that hook.
    pub(crate) fn hook(mut self, hook: u8) -> Self {
        self.header.hook = hook;
        self
    }

    /// Changes the fixed part.
    pub(crate) fn body(mut self, change: impl FnOnce(&mut Body)) -> Self {
        change(&mut self.body);
        self
    }

    /// The victim's path, leaf first, the root as "". Level `i` has the id `1000 - distance from
    /// the root`, no limit, and a usage of 10 pages.
    pub(crate) fn path(mut self, names: &[&str]) -> Self {
        self.path = levels(names);
        self.body.memcg = self.path[0].0.id;
        self.body.dfl_cgroup = self.path[0].0.id;
        self.body.trigger.memcg = self.body.memcg;
        self
    }

    /// Changes one level of the victim's path, counted from the leaf.
    pub(crate) fn level(mut self, n: usize, change: impl FnOnce(&mut Level)) -> Self {
        change(&mut self.path[n].0);
        self
    }

    /// The trigger's path where it is another.
    pub(crate) fn trigger_path(mut self, names: &[&str], leaf_id: u64) -> Self {
        self.trigger_path = levels(names);
        self.trigger_path[0].0.id = leaf_id;
        self.body.trigger.memcg = leaf_id;
        self
    }

    /// The path of the unit's cgroup, leaf first, in systemd's own hierarchy.
    pub(crate) fn unit_path(mut self, names: &[&str]) -> Self {
        self.unit_path = levels(names);
        self
    }

    /// The record's bytes.
    pub(crate) fn build(self) -> Vec<u8> {
        let payload = match self.header.kind {
            kind::MARK | kind::SIGNAL_WHOLE => {
                let paths = [&*self.path, &self.trigger_path, &self.unit_path];
                return encode::task(self.header, self.body, paths);
            }
            kind::MARK_TID | kind::SIGNAL => bytes_of(&self.target),
            kind::BEGIN => bytes_of(&self.domain),
            _ => &[],
        };
        encode::record(self.header, payload)
    }
}

fn levels(names: &[&str]) -> Vec<NamedLevel> {
    let count = names.len() as u64;
    names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let level = Level {
                id: 1000 - count + 1 + n as u64,
                usage: 10,
                max: UNLIMITED,
                memsw_usage: 10,
                memsw_max: UNLIMITED,
                memory: level::MEMORY | level::MEMSW | level::GROUP_KNOWN,
                name_len: name.len() as u16,
                skipped: 0,
            };
            (level, name.as_bytes().to_vec())
        })
        .collect()
}
