//! What the assembler remembers, over a restart.

use serde::{Deserialize, Serialize};

use super::{Assembler, Tid};
use crate::model::{
    kill::{Kill, KillId},
    labels::Role,
};

/// A process that is known to be killed, or to have been dying anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Thread group id; of one that was dying anyway the thread's.
    pub tgid: u32,
    /// Start of the group leader, ns of boot time; 0 where it is not known.
    pub start_time_ns: u64,
    /// Absent for one that was dying anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// When that was seen, ns of boot time.
    pub at_ns: u64,
}

impl Remembered {
    /// A kill.
    #[must_use]
    pub fn of(kill: &Kill) -> Self {
        Self {
            tgid: kill.key.tgid,
            start_time_ns: kill.key.start_time_ns,
            role: Some(kill.role),
            at_ns: kill.boottime_ns,
        }
    }

    /// Which process it is.
    #[must_use]
    pub fn kill_id(&self) -> KillId {
        KillId {
            tgid: self.tgid,
            start_time_ns: self.start_time_ns,
        }
    }
}

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
