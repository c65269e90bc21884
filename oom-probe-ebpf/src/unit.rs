//! The cgroup that systemd has for a task's unit where the memory controller has none.
//!
//! On cgroup v1 each controller has cgroups of its own, and without `MemoryAccounting=` systemd makes
//! none for a unit in the memory controller's. In the hierarchy `name=systemd`, which is its own,
//! every unit has one (systemd's `src/core/cgroup.c`).

use oom_probe_common::record::flag;

use crate::{
    globals::offset,
    maps::{self, Buffer, Scratch, Walk},
    read::{Address, Probe, Read},
    walk::{append, depth},
};

/// Hierarchies that are looked through: v1 has one for each of 13 controllers, and named ones.
const HIERARCHIES: u32 = 20;

/// Members of `struct cgrp_cset_link` (kernel/cgroup/cgroup-internal.h), of which BTF has no path from
/// the task. The same since Linux 3.10; the second has to be the `css_set` that the list is of.
const LINK_CGROUP: u32 = 0;
const LINK_CSS_SET: u32 = 8;
const LINK_IN_CSS_SET: usize = 32;

/// `cgroup_root.name` of that hierarchy, with its NUL.
const SYSTEMD: u64 = u64::from_ne_bytes(*b"systemd\0");

/// Writes the levels of the path of the task's unit behind the others, unless the memory controller's
/// is the same by all appearance; returns where they end.
#[inline(always)]
pub(crate) fn unit_path<R: Read>(
    buffer: Buffer,
    scratch: *mut Scratch,
    end: usize,
    task: Address,
) -> usize {
    // SAFETY: a part of a live buffer of this CPU's own.
    let body = unsafe { &mut (*scratch).body };
    if R::TYPED || body.flags & flag::V2 != 0 {
        return end;
    }
    let css_set = Probe::follow(task, offset!(task_cgroups));
    let memory = Probe::follow(css_set, offset!(css_set_memory));
    let memory = Probe::follow(memory, offset!(css_cgroup));
    let start = Walk {
        position: end,
        cgroup: css_set,
        memory: core::ptr::null(),
    };
    // SAFETY: as above.
    unsafe { (&raw mut (*scratch).walk).write_volatile(start) };
    if find(buffer as u32) == 0 {
        return end;
    }
    // SAFETY: as above; volatile since `find` has changed it.
    let found = unsafe { (&raw const (*scratch).walk).read_volatile() }.cgroup;
    if depth::<Probe>(found) == 0 || is_alike(found, memory) {
        return end;
    }
    let start = Walk {
        cgroup: found,
        ..start
    };
    let path = append::<Probe>(buffer, scratch, start);
    if path.truncated {
        return end;
    }
    body.unit_levels = path.levels;
    path.end
}

/// Whether two cgroups are as deep as each other and their names begin alike: as those of a container
/// or of a unit in two hierarchies. A name that is shorter may be taken for another.
#[inline(always)]
fn is_alike(one: Address, other: Address) -> bool {
    let name = |cgroup| {
        let node = Probe::follow(cgroup, offset!(cgroup_kn));
        let name = Probe::follow(node, offset!(kernfs_node_name));
        Probe::at::<u64>(name).value
    };
    depth::<Probe>(one) == depth::<Probe>(other) && name(one) == name(other)
}

/// Finds the cgroup in systemd's hierarchy of the `css_set` that the walk is at, or where there is no
/// such hierarchy in the unified one, and has the walk begin there; 0 where there is none. Global, as
/// `next_level` is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find(buffer: u32) -> u32 {
    let Some(scratch) = maps::scratch(buffer) else {
        return 0;
    };
    // SAFETY: a part of this CPU's own buffer.
    let walk = unsafe { &raw mut (*scratch).walk };
    let mut at = unsafe { walk.read_volatile() };
    let css_set = at.cgroup;
    at.cgroup = Probe::follow(css_set, offset!(css_set_dfl_cgrp));
    let mut node = Probe::follow(css_set, offset!(css_set_cgrp_links));
    for _ in 0..HIERARCHIES {
        let link = node.wrapping_sub(LINK_IN_CSS_SET);
        // The list's end is in the `css_set` itself.
        if Probe::follow(link, LINK_CSS_SET) != css_set {
            break;
        }
        let cgroup = Probe::follow(link, LINK_CGROUP);
        let root = Probe::follow(cgroup, offset!(cgroup_root));
        if Probe::member::<u64>(root, offset!(cgroup_root_name)).value == SYSTEMD {
            at.cgroup = cgroup;
            break;
        }
        node = Probe::follow(node, 0);
    }
    unsafe { walk.write_volatile(at) };
    u32::from(!at.cgroup.is_null())
}
