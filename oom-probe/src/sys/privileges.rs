//! What the daemon gives up once it captures: reading the ring and the ledger takes no capability,
//! and whoever takes the daemon over then gets none.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

/// Gives up every capability of this thread, and of those that it starts later, but `kept`; nothing
/// that it executes gets one again.
///
/// # Errors
/// Those of prctl(2) and capset(2), in one line: only a seccomp filter refuses them.
pub fn keep_only(kept: CapabilitySet) -> io::Result<()> {
    let sets = |permitted| CapabilitySets {
        effective: permitted,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    let given_up = set_no_new_privs(true)
        .and_then(|()| rustix::thread::capabilities(None))
        .and_then(|had| set_capabilities(None, sets(had.permitted & kept)));
    given_up.map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(
            error.kind(),
            format!(
                "cannot give up capabilities: {error}; allow prctl, capget and capset in the \
                 seccomp profile"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    /// The words of this thread's status behind these keys.
    fn status(keys: [&str; 4]) -> [String; 4] {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        keys.map(|key| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim().to_owned()
        })
    }

    #[test]
    fn a_thread_that_gave_up_its_capabilities_has_none_and_gets_none() {
        // Of one thread only: the others belong to other tests.
        let left = thread::spawn(|| {
            keep_only(CapabilitySet::empty()).unwrap();
            let child = thread::spawn(|| status(["CapPrm:", "CapEff:", "CapInh:", "NoNewPrivs:"]));
            child.join().unwrap()
        });
        let none = "0000000000000000";
        assert_eq!(left.join().unwrap(), [none, none, none, "1"]);
    }
}
