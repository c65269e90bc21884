//! Where to look for what became of a container.

use super::{ContainerAt, seen_from_node};
use crate::model::kill::Kill;

impl<'a> ContainerAt<'a> {
    /// The victim's container.
    #[must_use]
    pub fn of(kill: &'a Kill) -> Self {
        Self {
            cgroup: seen_from_node(kill),
            id: kill.identity.container,
        }
    }
}
