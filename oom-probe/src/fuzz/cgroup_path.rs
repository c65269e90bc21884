//! A cgroup path, as any process that may make cgroups can name it.

use crate::{cgroup::path, model::cgroup_path::CgroupPath, sys::escape::escape};

pub(super) fn run(input: &[u8]) {
    let identity = path::from_path(input);
    let levels = input.split(|byte| *byte == b'/').count();
    for level in [identity.container_level, identity.pod_level] {
        assert!(level.is_none_or(|level| level < levels), "{identity:?}");
    }
    if let (Some(container), Some(pod)) = (identity.container_level, identity.pod_level) {
        assert!(
            container < pod,
            "a container is below its pod: {identity:?}"
        );
    }
    if let Some(unit) = &identity.unit {
        super::assert_one_line(&unit.to_string());
    }
    let names: Vec<_> = input.rsplit(|byte| *byte == b'/').collect();
    let path = CgroupPath::from_levels(names.iter().copied());
    super::assert_one_line(&path.to_string());
    assert_eq!(path.to_string().parse(), Ok(path));
    let escaped = escape(input);
    super::assert_one_line(&escaped);
    assert!(escaped.len() <= input.len() * 4);
}
