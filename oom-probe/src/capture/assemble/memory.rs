//! What the assembler remembers, over a restart.

use super::{Assembler, Tid, dedup::Remembered};
use crate::model::kill::KillId;

impl Assembler {
    /// The processes that are remembered, oldest first.
    pub fn remembered(&self) -> impl Iterator<Item = Remembered> {
        let killed = self.seen.iter().map(|(key, at_ns, role)| Remembered {
            tgid: key.tgid,
            start_time_ns: key.start_time_ns,
            role: Some(role),
            at_ns,
        });
        let dying = self.dying.iter().map(|(Tid(tgid), at_ns, ())| Remembered {
            tgid,
            start_time_ns: 0,
            role: None,
            at_ns,
        });
        killed.chain(dying)
    }

    /// Takes over what another assembler remembered of a process.
    pub fn remember_again(&mut self, process: &Remembered) {
        let Remembered {
            tgid,
            start_time_ns,
            role,
            at_ns,
        } = *process;
        self.dying.insert(Tid(tgid), (), at_ns);
        if let Some(role) = role {
            let key = KillId {
                tgid,
                start_time_ns,
            };
            self.seen.insert(key, role, at_ns);
        }
    }
}
