//! What an OOM kill will do to a container, told before it is made.

use super::evidence::Expected;

/// Which process grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grower {
    /// The service itself, the container's first and only process.
    Service,
    /// One that was started beside it by exec.
    Exec,
}

/// Decides from memory.oom.group (absent on cgroup v1) and gives the reason.
pub(crate) fn expect(oom_group: Option<bool>, grower: Grower) -> (Expected, String) {
    let group = match oom_group {
        Some(true) => "memory.oom.group is 1: the kernel kills every process of the container",
        Some(false) => "memory.oom.group is 0: the kernel kills one process of the container",
        None => "cgroup v1 has no memory.oom.group: the kernel kills one process of the container",
    };
    match (oom_group, grower) {
        (Some(true), _) => (
            Expected::Dies,
            format!("{group}. It ends with exit code 137 and is started again."),
        ),
        (_, Grower::Service) => (
            Expected::Dies,
            format!(
                "{group}, and the one that grows is its first. It ends with exit code 137 and is \
                 started again."
            ),
        ),
        (_, Grower::Exec) => (
            Expected::Survives,
            format!(
                "{group}, the largest: the one that grows, beside the service. The container goes \
                 on, and nothing but oom-probe will show the kill. Where the service itself is the \
                 larger one it dies instead."
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_beside_the_first_can_die_alone_and_only_without_the_group() {
        use Expected::{Dies, Survives};
        use Grower::{Exec, Service};
        for (group, grower, expected) in [
            (Some(true), Service, Dies),
            (Some(true), Exec, Dies),
            (Some(false), Service, Dies),
            (Some(false), Exec, Survives),
            (None, Service, Dies),
            (None, Exec, Survives),
        ] {
            let (found, because) = expect(group, grower);
            assert_eq!(found, expected, "{group:?} {grower:?}: {because}");
            assert_eq!(because.contains("v1"), group.is_none(), "{because}");
        }
    }
}
