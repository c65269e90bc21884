//! What a mark means: a kill, a task that was dying anyway, or a kill that is known.

use oom_probe_common::record::{Header, Target, valid};

use super::{
    Assembler, EVENT_GAP_NS, Event, Killed, Tid, Witness, domain::Found, key_of, kill, target_of,
};
use crate::{
    model::{kill::KillId, labels::Role},
    record::{Payload, Record, Task},
};

/// `PF_EXITING` of include/linux/sched.h.
const PF_EXITING: u32 = 0x4;

impl Assembler {
    /// A mark that tells only a thread id, of a task that the signal hook described.
    pub(super) fn mark_of_signal(
        &mut self,
        mark: &Record<'_>,
        bytes: &[u8],
        signalled: bool,
        out: &mut Vec<Killed>,
    ) {
        // The bytes were decoded once already, when they came out of the ring.
        if let Ok(Record {
            payload: Payload::SignalWhole(task),
            ..
        }) = crate::record::decode(bytes)
        {
            self.mark(mark, &task, signalled, out);
        }
    }

    /// A mark that tells only a thread id, of a task that nobody described.
    pub(super) fn mark_of_thread(
        &mut self,
        mark: &Record<'_>,
        thread: &Target,
        out: &mut Vec<Killed>,
    ) {
        let (header, tid) = (mark.header, thread.tid);
        let itself = tid == header.current_tid;
        let leader = itself.then_some(header.current_tgid);
        let mut ids = [Some(tid), leader].into_iter().flatten();
        if ids.any(|id| self.dying.get(Tid(id), header.time_ns).is_some()) {
            self.counts.marked_again += 1;
            return;
        }
        let trigger_exiting = thread.valid & valid::TRIGGER_EXITING != 0;
        if self.witness == Witness::Reliable && (itself || !trigger_exiting) {
            self.exiting(header, tid);
            return;
        }
        let mut task = kill::unknown_task(leader.unwrap_or(tid), tid);
        if trigger_exiting {
            task.body.valid |= valid::TRIGGER_FLAGS;
            task.body.trigger.flags |= PF_EXITING;
        }
        self.mark(mark, &task, false, out);
    }

    /// The kernel marks a task that was dying anyway.
    fn exiting(&mut self, header: Header, tid: u32) {
        self.counts.exiting += 1;
        self.dying.insert(Tid(tid), (), header.time_ns);
    }

    /// The kernel marks a victim.
    pub(super) fn mark(
        &mut self,
        record: &Record<'_>,
        task: &Task<'_>,
        signalled: bool,
        out: &mut Vec<Killed>,
    ) {
        let key = key_of(&target_of(task));
        let now = record.header.time_ns;
        let exits = !signalled && self.is_witness_of_exit(record, task);
        if let Some(role) = self.seen.get(key, now) {
            if role == Role::SharedMm && !exits {
                self.counts.doubtful += u64::from(!signalled);
                self.marked_for_its_group(key, now, out);
            } else {
                self.counts.marked_again += 1;
            }
            return;
        }
        if exits {
            self.exiting(record.header, task.body.victim.tid);
            return;
        }
        let role = self.role(record, task);
        if role == Role::Primary {
            self.open(record, task);
        }
        let Some(event) = &mut self.event else { return };
        event.last_ns = record.header.time_ns;
        event.mm = (task.body.valid & valid::MM != 0).then_some(task.body.victim.mm);
        let (id, found) = (event.id.clone(), &event.found);
        let kill = self.machine.kill(record.header, task, role, id, found);
        self.remember(task, role, now);
        self.counts.marked_kills += 1;
        self.counts.doubtful += u64::from(!signalled);
        out.push(Killed {
            kill,
            opens_event: role == Role::Primary,
        });
    }

    /// A process that was killed for its mm is marked by the pass over its group.
    fn marked_for_its_group(&mut self, key: KillId, now: u64, out: &mut Vec<Killed>) {
        self.counts.unmarked_kills -= 1;
        self.counts.marked_kills += 1;
        self.seen.insert(key, Role::Group, now);
        if let Some(at) = self.held.iter().position(|(_, kill)| kill.key == key) {
            let (_, mut kill) = self.held.remove(at);
            kill.role = Role::Group;
            out.push(Killed {
                kill,
                opens_event: false,
            });
        }
    }

    /// Whether a mark without a signal is that of a task that was dying anyway.
    fn is_witness_of_exit(&self, record: &Record<'_>, task: &Task<'_>) -> bool {
        let itself = record.header.current_tid == task.body.victim.tid;
        // The signal hook keeps silent about what a dying task sends to others.
        let trigger_exiting = task.body.valid & valid::TRIGGER_FLAGS != 0
            && task.body.trigger.flags & PF_EXITING != 0;
        self.witness == Witness::Reliable && (itself || !trigger_exiting)
    }

    /// The role of a newly marked victim.
    fn role(&self, record: &Record<'_>, task: &Task<'_>) -> Role {
        let header = record.header;
        let in_event = self.event.as_ref().is_some_and(|event| {
            event.current_tid == header.current_tid
                && (event.bounded
                    || (header.time_ns.saturating_sub(event.last_ns) < EVENT_GAP_NS
                        && event.found.has_in_group(task)))
        });
        if in_event { Role::Group } else { Role::Primary }
    }

    /// Begins the event of a primary victim.
    fn open(&mut self, record: &Record<'_>, task: &Task<'_>) {
        let header = record.header;
        let context = self
            .context
            .filter(|context| context.current_tid == header.current_tid);
        self.event = Some(Event {
            id: self.machine.event_id(header),
            current_tid: header.current_tid,
            last_ns: header.time_ns,
            bounded: context.is_some(),
            mm: None,
            found: Found::new(context.as_ref(), task),
        });
    }
}
