//! The path of a task's cgroup and what the memory controller says on each level of it.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use oom_probe_common::{
    offsets::ABSENT,
    record::{LEVELS_BYTES, Level, NAME_MAX, flag, level, valid},
};

use crate::{
    globals::{offset, setting},
    maps::{Buffer, Scratch, Walk},
    read::{Address, Got, Read, set},
    walk::append,
};

/// A level and the longest name, padded: what has to fit before another level is begun.
pub(crate) const LEVEL_MAX: usize = size_of::<Level>() + NAME_MAX + 1;

/// The `cgroup_subsys_state` of the task's memory cgroup.
#[inline(always)]
fn memory_css<R: Read>(task: Address) -> Address {
    let css_set = R::follow(task, offset!(task_cgroups));
    R::follow(css_set, offset!(css_set_memory))
}

/// The id of a cgroup: the inode number of its directory.
#[inline(always)]
fn id<R: Read>(cgroup: Address) -> Got<u64> {
    let node = R::follow(cgroup, offset!(cgroup_kn));
    R::member(node, offset!(kernfs_node_id))
}

/// The id of the task's memory cgroup.
#[inline(always)]
pub(crate) fn memory_id<R: Read>(task: Address) -> Got<u64> {
    id::<R>(R::follow(memory_css::<R>(task), offset!(css_cgroup)))
}

/// The id of a memory cgroup.
#[inline(always)]
pub(crate) fn id_of_memcg<R: Read>(memcg: Address) -> Got<u64> {
    let offset = offset!(memcg_css);
    if offset == ABSENT {
        return Got { value: 0, ok: 0 };
    }
    let css = memcg.wrapping_add(offset as usize);
    id::<R>(R::follow(css, offset!(css_cgroup)))
}

/// Writes the levels of the victim's path; returns where they end.
///
/// In the unified hierarchy the path is that of the cgroup which the task is in, though the memory
/// controller may begin further up; else it is the memory controller's.
#[inline(always)]
pub(crate) fn victim_path<R: Read>(buffer: Buffer, scratch: *mut Scratch, task: Address) -> usize {
    // SAFETY: a part of a live buffer of this CPU's own, which the walk has no part in.
    let body = unsafe { &mut (*scratch).body };
    let css_set = R::follow(task, offset!(task_cgroups));
    let memory = R::follow(css_set, offset!(css_set_memory));
    let memory_cgroup = R::follow(memory, offset!(css_cgroup));
    let unified = R::follow(css_set, offset!(css_set_dfl_cgrp));
    set!(body, valid::MEMCG, memcg = id::<R>(memory_cgroup));
    set!(body, valid::DFL_CGROUP, dfl_cgroup = id::<R>(unified));
    let memory_root = R::member::<u64>(memory_cgroup, offset!(cgroup_root));
    let unified_root = R::member::<u64>(unified, offset!(cgroup_root));
    body.valid |= (memory_root.ok & unified_root.ok) << valid::HIERARCHY.trailing_zeros();
    let mut cgroup = memory_cgroup;
    if memory_root.value == unified_root.value && unified_root.value != 0 {
        body.flags |= flag::V2;
        cgroup = unified;
    }
    if !named::<R>() {
        body.flags |= flag::NAMELESS;
    }
    let walk = Walk {
        position: 0,
        cgroup,
        memory,
    };
    let path = append::<R>(buffer, scratch, walk);
    body.levels = path.levels;
    if path.truncated {
        body.flags |= flag::TRUNCATED;
    }
    path.end
}

/// Writes the levels of the trigger's path behind the victim's, unless it is the same; returns
/// where they end.
#[inline(always)]
pub(crate) fn trigger_path<R: Read>(
    buffer: Buffer,
    scratch: *mut Scratch,
    end: usize,
    current: Address,
) -> usize {
    // SAFETY: as above.
    let body = unsafe { &mut (*scratch).body };
    if body.memcg == body.trigger.memcg {
        return end;
    }
    let start = Walk {
        position: end,
        cgroup: R::follow(memory_css::<R>(current), offset!(css_cgroup)),
        memory: core::ptr::null(),
    };
    let path = append::<R>(buffer, scratch, start);
    body.trigger_levels = path.levels;
    if path.truncated {
        body.flags |= flag::TRIGGER_TRUNCATED;
    }
    path.end
}

/// A level of which nothing is known but what its id will be.
#[inline(always)]
pub(crate) fn blank(entry: &mut Level) {
    entry.usage = 0;
    entry.max = 0;
    entry.memsw_usage = 0;
    entry.memsw_max = 0;
    entry.memory = 0;
    entry.name_len = 0;
    entry.skipped = 0;
}

/// Writes a level at the walk's position, with what the memory controller says of it if `memory`
/// is the cgroup's own; returns where the walk goes on, or nothing where it ends.
///
/// The position is bounded anew at each level: to the verifier every level then looks alike, where
/// an offset that grows by the length of each name would make it follow each combination of paths
/// separately.
#[inline(always)]
pub(crate) fn level<R: Read>(
    scratch: *mut Scratch,
    cgroup: Address,
    memory: Address,
) -> Option<Walk> {
    // SAFETY: as in `append`.
    let position = unsafe { &raw mut (*scratch).walk.position };
    let end = unsafe { position.read_volatile() };
    if cgroup.is_null() || end > LEVELS_BYTES - LEVEL_MAX {
        return None;
    }
    // SAFETY: inside the buffer.
    let at = unsafe { (&raw mut (*scratch).levels).cast::<u8>() }.wrapping_add(end);
    // SAFETY: what was checked above leaves room for a level and its name behind `end`, which is a
    // multiple of 8.
    let entry = unsafe { &mut *at.cast::<Level>() };
    entry.id = id::<R>(cgroup).value;
    blank(entry);
    let mut memory_above = memory;
    if !R::TYPED && R::follow(memory, offset!(css_cgroup)) == cgroup {
        controller::<R>(entry, memory);
        memory_above = R::follow(memory, offset!(css_parent));
    }
    let cgroup_above = parent::<R>(cgroup, |cgroup| {
        if named::<R>() {
            entry.name_len = name::<R>(at.wrapping_add(size_of::<Level>()), cgroup);
        }
    });
    let len = size_of::<Level>() + ((usize::from(entry.name_len) + 7) & !7);
    // SAFETY: see above.
    unsafe { position.write_volatile(end + len) };
    Some(Walk {
        position: end + len,
        cgroup: cgroup_above,
        memory: memory_above,
    })
}

/// The cgroup above; null for the root, which has no name either.
#[inline(always)]
pub(crate) fn parent<R: Read>(cgroup: Address, name: impl FnOnce(Address)) -> Address {
    let offset = offset!(cgroup_self);
    if offset == ABSENT {
        return core::ptr::null();
    }
    let css = R::follow(cgroup.wrapping_add(offset as usize), offset!(css_parent));
    let parent = R::follow(css, offset!(css_cgroup));
    if !parent.is_null() {
        name(cgroup);
    }
    parent
}

/// Whether names can be read here.
#[inline(always)]
fn named<R: Read>() -> bool {
    !R::TYPED || setting!(names) == 1
}

/// Reads the name of a cgroup's directory and zeroes the padding behind it; returns its length.
#[inline(always)]
fn name<R: Read>(at: *mut u8, cgroup: Address) -> u16 {
    let node = R::follow(cgroup, offset!(cgroup_kn));
    let name = R::follow(node, offset!(kernfs_node_name));
    // SAFETY: the caller keeps room for the longest name; the helper checks the address.
    let read = unsafe { bpf_probe_read_kernel_str(at.cast(), NAME_MAX as u32 + 1, name.cast()) };
    // The length counts the NUL; an error number is negative. No branch, see `read`.
    let len = read - 1;
    let len = (len & !(len >> 63)) as usize & NAME_MAX;
    // SAFETY: at most 255 + 8 bytes from `at`, inside the slack of the scratch buffer.
    unsafe { at.wrapping_add(len).cast::<u64>().write_unaligned(0) };
    len as u16
}

/// What the memory controller says on one level.
#[inline(always)]
fn controller<R: Read>(entry: &mut Level, css: Address) {
    let offset = offset!(memcg_css);
    if offset == ABSENT {
        return;
    }
    let memcg = css.wrapping_sub(offset as usize);
    let usage = R::member(memcg, offset!(memcg_memory_usage));
    let max = R::member(memcg, offset!(memcg_memory_max));
    entry.usage = usage.value;
    entry.max = max.value;
    let known = |ok: u64, bit: u16| (ok as u16) << bit.trailing_zeros();
    entry.memory |= known(usage.ok & max.ok, level::MEMORY);
    let usage = R::member(memcg, offset!(memcg_memsw_usage));
    let max = R::member(memcg, offset!(memcg_memsw_max));
    entry.memsw_usage = usage.value;
    entry.memsw_max = max.value;
    entry.memory |= known(usage.ok & max.ok, level::MEMSW);
    let group = R::member::<u8>(memcg, offset!(memcg_oom_group));
    entry.memory |= known(group.ok, level::GROUP_KNOWN);
    entry.memory |= known(u64::from(group.value & 1), level::OOM_GROUP);
    let lock = R::member::<u8>(memcg, offset!(memcg_oom_lock));
    entry.memory |= known(lock.ok, level::LOCK_KNOWN);
    entry.memory |= known(u64::from(lock.value & 1), level::OOM_LOCK);
}
