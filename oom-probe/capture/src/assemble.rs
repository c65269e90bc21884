//! The assembler: from the kernel's records to kills and OOM events.
//!
//! A pure fold. Ring order is kernel order, since whatever writes records of one OOM event runs
//! under the kernel's one OOM lock; so what a record means follows from those before it. Roles,
//! event ids, exiting marks, co-victims and deduplication are decided here and nowhere else.

mod dedup;
mod domain;
mod kill;
mod mark;
mod memory;
mod signals;
#[cfg(test)]
mod tests;

use oom_probe_common::record::{Header, Target, valid};

use crate::{
    assemble::dedup::{Key, Seen},
    model::{
        kill::{Kill, KillId},
        labels::Role,
    },
    record::{Payload, Record, Task},
};
pub use dedup::Remembered;
use domain::{Context, Found};
pub use kill::Machine;
use signals::{Signal, Signals};

/// How long the next victim of a group may take where the kernel does not say where an event ends:
/// the task that kills them may be out of its CPU quota for a period of 100 ms
/// (`kernel/sched/fair.c`, `default_cfs_period`).
const GROUP_GAP_NS: u64 = 200_000_000;
/// How long, in kernel time, the kill of a process that shares the victim's mm may wait for a mark
/// that says it was killed for its group.
const HOLD_NS: u64 = 20_000_000;
/// Marks by one task further apart than this belong to different OOM events even where the kernel
/// does not say where an event ends.
const EVENT_GAP_NS: u64 = 2_000_000_000;

/// Whether the absence of a signal before a mark proves that the victim was dying anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The signal hook is attached and has not missed anything.
    Reliable,
    /// In doubt a mark is a kill.
    Doubtful,
}

/// What has been made of the records so far. Each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Mark records taken.
    pub marks: u64,
    /// Kills whose victim the kernel marked.
    pub marked_kills: u64,
    /// Kills of processes that were never marked: they shared a victim's mm.
    pub unmarked_kills: u64,
    /// Marks of tasks that were dying anyway.
    pub exiting: u64,
    /// SIGKILLs to processes that were killed already: `/proc/vmstat` may count them again.
    pub repeats: u64,
    /// Marks of processes that were known to be killed already: through another of their threads,
    /// or because they ran into the limit once more while they were dying.
    pub marked_again: u64,
    /// Of `marked_kills` those without a signal to prove them: the kernel itself may have counted
    /// none, or one more.
    pub doubtful: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::wrapping_add)
    }

    /// What has come since `earlier`.
    #[must_use]
    pub fn minus(self, earlier: Self) -> Self {
        self.with(earlier, u64::wrapping_sub)
    }

    fn with(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            marks: each(self.marks, other.marks),
            marked_kills: each(self.marked_kills, other.marked_kills),
            // A mark may turn a kill of the one into one of the other.
            unmarked_kills: each(self.unmarked_kills, other.unmarked_kills),
            exiting: each(self.exiting, other.exiting),
            repeats: each(self.repeats, other.repeats),
            marked_again: each(self.marked_again, other.marked_again),
            doubtful: each(self.doubtful, other.doubtful),
        }
    }
}

/// A kill and whether it opens its OOM event.
#[derive(Clone, Debug, PartialEq)]
pub struct Killed {
    /// The kill.
    pub kill: Kill,
    /// It is the first of its event: the event is to be counted.
    pub opens_event: bool,
}

/// Folds records into kills.
pub struct Assembler {
    machine: Machine,
    witness: Witness,
    context: Option<Context>,
    signals: Signals,
    event: Option<Event>,
    held: Vec<(u64, Kill)>,
    seen: Seen<KillId, Role>,
    /// Threads and leaders of processes that were killed or marked while they were dying anyway.
    dying: Seen<Tid, ()>,
    counts: Counts,
}

/// A thread id: the kernel gives it to another thread in time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Tid(u32);

/// The OOM event under way.
struct Event {
    id: String,
    current_tid: u32,
    last_ns: u64,
    /// It lies between the begin and the end that the context hook reports.
    bounded: bool,
    mm: Option<u64>,
    found: Found,
}

impl Assembler {
    /// An assembler that has seen nothing.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            witness: Witness::Doubtful,
            context: None,
            signals: Signals::default(),
            event: None,
            held: Vec::new(),
            seen: Seen::default(),
            dying: Seen::default(),
            counts: Counts::default(),
        }
    }

    /// Says how far the signal hook can be trusted for the records that follow.
    pub fn set_witness(&mut self, witness: Witness) {
        self.witness = witness;
    }

    /// Sets the difference between `CLOCK_REALTIME` and `CLOCK_BOOTTIME` for what follows.
    pub fn set_clock(&mut self, realtime_minus_boottime_ns: i128) {
        self.machine.clock_ns = realtime_minus_boottime_ns;
    }

    /// What has been made of the records so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the next record.
    pub fn push(&mut self, record: &Record<'_>, bytes: &[u8], out: &mut Vec<Killed>) {
        let header = record.header;
        self.release(header.time_ns, out);
        match record.payload {
            Payload::Begin(domain) => {
                self.close(out);
                self.context = Some(Context {
                    since_ns: header.time_ns,
                    current_tid: header.current_tid,
                    domain,
                });
            }
            Payload::End => {
                self.close(out);
                self.context = None;
                self.signals.forget(header.current_tid);
            }
            Payload::Signal(target) => self.signal(header, target, None),
            Payload::SignalWhole(task) => {
                let for_its_mm =
                    self.shares_mm(header, &task) && self.co_victim(record, &task, out);
                let target = target_of(&task);
                if for_its_mm {
                    self.signals.push(Signal {
                        time_ns: header.time_ns,
                        current_tid: header.current_tid,
                        target,
                        whole: Some(bytes.to_vec()),
                        for_its_mm,
                    });
                } else {
                    self.signal(header, target, Some(bytes.to_vec()));
                }
            }
            Payload::Mark(task) => {
                self.counts.marks += 1;
                let target = target_of(&task);
                let signal = self.signals.take(header.current_tid, |signalled| {
                    if signalled.valid & valid::START_TIME == 0 {
                        // By the plain tracepoint, which tells of the thread alone.
                        return signalled.tid == target.tid;
                    }
                    signalled.tgid == target.tgid && signalled.start_time_ns == target.start_time_ns
                });
                let signalled = signal.is_some_and(|signal| !signal.for_its_mm);
                self.mark(record, &task, signalled, out);
            }
            Payload::MarkTid(thread) => {
                self.counts.marks += 1;
                let signal = self
                    .signals
                    .take(header.current_tid, |signalled| signalled.tid == thread.tid);
                match signal {
                    Some(Signal {
                        whole: Some(bytes),
                        for_its_mm,
                        ..
                    }) => self.mark_of_signal(record, &bytes, !for_its_mm, out),
                    _ => self.mark_of_thread(record, &thread, out),
                }
            }
        }
    }

    /// Lets go of what waited for a record that did not come. `now_ns` is boot time.
    pub fn release(&mut self, now_ns: u64, out: &mut Vec<Killed>) {
        if self
            .held
            .first()
            .is_some_and(|(since, _)| now_ns.saturating_sub(*since) > HOLD_NS)
        {
            self.let_go(out);
        }
    }

    /// Whether something waits for [`Assembler::release`].
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether what was pushed so far means the same without what follows: the ring may forget it,
    /// and whoever reads on from here misses nothing. `now_ns` is boot time; what should have
    /// followed long ago will not.
    #[must_use]
    pub fn is_settled(&self, now_ns: u64) -> bool {
        let in_event = self
            .context
            .is_some_and(|context| now_ns.saturating_sub(context.since_ns) < EVENT_GAP_NS);
        !in_event
            && self.held.is_empty()
            && !self.signals.is_any_since(now_ns.saturating_sub(HOLD_NS))
    }

    /// Id of the OOM event that may still take more victims. `now_ns` is the boot time up to which
    /// all records were pushed: an event that was quiet for too long is over, though nothing said so.
    #[must_use]
    pub fn under_way(&self, now_ns: u64) -> Option<&str> {
        let event = self.event.as_ref()?;
        let patience = match (event.bounded, event.found.may_be_group()) {
            (true, _) => EVENT_GAP_NS,
            (false, true) => GROUP_GAP_NS,
            (false, false) => HOLD_NS,
        };
        let quiet = now_ns.saturating_sub(event.last_ns);
        (quiet < patience || !self.held.is_empty()).then_some(&*event.id)
    }

    /// The event under way gets no more members.
    fn close(&mut self, out: &mut Vec<Killed>) {
        self.let_go(out);
        self.event = None;
    }

    fn let_go(&mut self, out: &mut Vec<Killed>) {
        for (_, kill) in self.held.drain(..) {
            out.push(Killed {
                kill,
                opens_event: false,
            });
        }
    }

    /// A process is sent SIGKILL by the kernel itself.
    fn signal(&mut self, header: Header, target: Target, whole: Option<Vec<u8>>) {
        let now = header.time_ns;
        let killed = self.seen.get(key_of(&target), now).is_some();
        if killed || self.dying.get(Tid(target.tid), now).is_some() {
            self.counts.repeats += 1;
        }
        self.signals.push(Signal {
            time_ns: header.time_ns,
            current_tid: header.current_tid,
            target,
            whole,
            for_its_mm: false,
        });
    }

    /// Whether the task shares its mm with the victim that the current task just had marked. One
    /// that was started later has that address from the victim's mm, which is gone.
    fn shares_mm(&self, header: Header, task: &Task<'_>) -> bool {
        let body = &task.body;
        let Some(event) = &self.event else {
            return false;
        };
        let started = (body.valid & valid::START_TIME != 0).then_some(body.victim.start_time_ns);
        body.valid & valid::MM != 0
            && event.current_tid == header.current_tid
            && event.mm == Some(body.victim.mm)
            && header.time_ns.saturating_sub(event.last_ns) < EVENT_GAP_NS
            && started.is_none_or(|started| started <= event.last_ns)
    }

    /// A process is killed.
    fn remember(&mut self, task: &Task<'_>, role: Role, now_ns: u64) {
        let target = target_of(task);
        self.seen.insert(key_of(&target), role, now_ns);
        for tid in [target.tid, target.tgid] {
            self.dying.insert(Tid(tid), (), now_ns);
        }
    }

    /// A process dies because it shares the victim's mm; no mark will come for that. Whether that
    /// was not known before.
    fn co_victim(&mut self, record: &Record<'_>, task: &Task<'_>, out: &mut Vec<Killed>) -> bool {
        let key = key_of(&target_of(task));
        let now = record.header.time_ns;
        if self.seen.get(key, now).is_some() {
            return false;
        }
        let Some(event) = &self.event else {
            return false;
        };
        let kill = self.machine.kill(
            record.header,
            task,
            Role::SharedMm,
            event.id.clone(),
            &event.found,
        );
        let may_be_marked = event.found.may_be_group();
        self.remember(task, Role::SharedMm, now);
        self.counts.unmarked_kills += 1;
        if may_be_marked {
            // The pass over the group is still to come and may mark it.
            self.held.push((record.header.time_ns, kill));
        } else {
            out.push(Killed {
                kill,
                opens_event: false,
            });
        }
        true
    }
}

fn target_of(task: &Task<'_>) -> Target {
    let victim = &task.body.victim;
    Target {
        valid: task.body.valid,
        tgid: victim.tgid,
        tid: victim.tid,
        start_time_ns: victim.start_time_ns,
        mm: victim.mm,
    }
}

fn key_of(target: &Target) -> KillId {
    KillId {
        tgid: target.tgid,
        start_time_ns: target.start_time_ns,
    }
}

impl Key for KillId {
    fn is_unique(&self) -> bool {
        self.start_time_ns != 0
    }
}

impl Key for Tid {
    fn is_unique(&self) -> bool {
        false
    }
}
