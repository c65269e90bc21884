//! The path of a task's cgroup and what the memory controller says on each level of it.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use oom_probe_common::{
    offsets::ABSENT,
    record::{
        LEAF_BYTES, LEAF_LEVELS, LEVELS_BYTES, Level, NAME_MAX, ROOT_LEVELS, flag, level, valid,
    },
};

use crate::{
    globals::{offset, setting},
    maps::{self, Buffer, Scratch, Walk},
    read::{Address, Got, Probe, Read, set},
};

/// A level and the longest name, padded: what has to fit before another level is begun.
const LEVEL_MAX: usize = size_of::<Level>() + NAME_MAX + 1;

/// Levels that [`climb`] leaves out at most, and how often it is called: deeper paths lack their root.
const CLIMB: u32 = 32;
const CLIMBS: u32 = 32;
/// The same by typed pointers, level by level: the verifier follows each.
const TYPED_CLIMB: u32 = 64;

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
    let start = Walk {
        position: 0,
        cgroup,
        memory,
    };
    let path = append::<R>(buffer, scratch, start);
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

struct Path {
    levels: u16,
    end: usize,
    truncated: bool,
}

/// Appends the levels from where the walk starts up to the root: of a deep path those next to the
/// leaf and those next to the root.
#[inline(always)]
fn append<R: Read>(buffer: Buffer, scratch: *mut Scratch, start: Walk) -> Path {
    // SAFETY, here and below: a part of a live buffer of this CPU's own; volatile since
    // `next_level` and `climb` change it.
    let walk = unsafe { &raw mut (*scratch).walk };
    let position = unsafe { &raw const (*walk).position };
    unsafe { walk.write_volatile(start) };
    let mut cgroup = start.cgroup;
    let mut levels = 0;
    for _ in 0..LEAF_LEVELS {
        // SAFETY: see above.
        let written = unsafe { position.read_volatile() }.wrapping_sub(start.position);
        if written > LEAF_BYTES || !step::<R>(buffer, scratch, &mut cgroup, start.memory) {
            break;
        }
        levels += 1;
    }
    let skipped = skip::<R>(buffer, walk, &mut cgroup);
    if skipped > 0 && leave_out(scratch, skipped) {
        levels += 1;
    }
    for _ in 0..ROOT_LEVELS {
        if !step::<R>(buffer, scratch, &mut cgroup, start.memory) {
            break;
        }
        levels += 1;
    }
    // SAFETY: see above.
    let end = unsafe { walk.read_volatile() };
    Path {
        levels,
        end: end.position,
        truncated: !if R::TYPED { cgroup } else { end.cgroup }.is_null(),
    }
}

/// Appends one level; false where the walk has ended. `cgroup` is where a walk by typed pointers has
/// come to: one that has been in the buffer would have no type any more.
#[inline(always)]
fn step<R: Read>(
    buffer: Buffer,
    scratch: *mut Scratch,
    cgroup: &mut Address,
    memory: Address,
) -> bool {
    if !R::TYPED {
        return next_level(buffer as u32) != 0;
    }
    let Some(up) = level::<R>(scratch, *cgroup, memory) else {
        return false;
    };
    *cgroup = up.cgroup;
    true
}

/// Goes up to the levels next to the root; returns how many levels are left out.
#[inline(always)]
fn skip<R: Read>(buffer: Buffer, walk: *mut Walk, cgroup: &mut Address) -> u32 {
    let mut skipped = 0;
    if R::TYPED {
        for _ in 0..TYPED_CLIMB {
            if !is_deep::<R>(*cgroup) {
                break;
            }
            *cgroup = parent::<R>(*cgroup, |_| ());
            skipped += 1;
        }
        return skipped;
    }
    // SAFETY: as in `append`.
    if !is_deep::<R>(unsafe { walk.read_volatile() }.cgroup) {
        return 0;
    }
    for _ in 0..CLIMBS {
        let climbed = climb(buffer as u32);
        skipped += climbed;
        if climbed < CLIMB {
            break;
        }
    }
    skipped
}

/// Whether a cgroup is further from the root than those that are there of every path.
#[inline(always)]
fn is_deep<R: Read>(cgroup: Address) -> bool {
    R::member::<u32>(cgroup, offset!(cgroup_level)).value >= ROOT_LEVELS as u32
}

/// Goes on with a walk without a word of the levels, [`CLIMB`] at most, as long as it is deep; returns
/// how many.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn climb(buffer: u32) -> u32 {
    let Some(scratch) = maps::scratch(buffer) else {
        return 0;
    };
    // SAFETY: as in `append`.
    let walk = unsafe { &raw mut (*scratch).walk };
    let mut at = unsafe { walk.read_volatile() };
    let mut climbed = 0;
    while climbed < CLIMB && is_deep::<Probe>(at.cgroup) {
        if Probe::follow(at.memory, offset!(css_cgroup)) == at.cgroup {
            at.memory = Probe::follow(at.memory, offset!(css_parent));
        }
        at.cgroup = parent::<Probe>(at.cgroup, |_| ());
        climbed += 1;
    }
    unsafe { walk.write_volatile(at) };
    climbed
}

/// Writes the level that stands for those which are left out; false where there is no room.
#[inline(always)]
fn leave_out(scratch: *mut Scratch, skipped: u32) -> bool {
    // SAFETY: as in `append`.
    let position = unsafe { &raw mut (*scratch).walk.position };
    let end = unsafe { position.read_volatile() };
    if end > LEVELS_BYTES - LEVEL_MAX {
        return false;
    }
    // SAFETY: as in `level`.
    let entry = unsafe {
        let at = (&raw mut (*scratch).levels).cast::<u8>().wrapping_add(end);
        &mut *at.cast::<Level>()
    };
    blank(entry);
    entry.id = 0;
    entry.skipped = skipped;
    // SAFETY: see above.
    unsafe { position.write_volatile(end + size_of::<Level>()) };
    true
}

/// A level of which nothing is known but what its id will be.
#[inline(always)]
fn blank(entry: &mut Level) {
    entry.usage = 0;
    entry.max = 0;
    entry.memsw_usage = 0;
    entry.memsw_max = 0;
    entry.memory = 0;
    entry.name_len = 0;
    entry.skipped = 0;
}

/// Goes on with a walk by one level; 0 where it has ended.
///
/// What is global by its type information the verifier checks once, whatever the arguments
/// (kernel/bpf/verifier.c `do_check_subprogs`, minimum kernel: 5.6), where a loop's body would be
/// followed for each level of each path.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn next_level(buffer: u32) -> u32 {
    let Some(scratch) = maps::scratch(buffer) else {
        return 0;
    };
    // SAFETY: as in `append`.
    let walk = unsafe { &raw mut (*scratch).walk };
    let at = unsafe { walk.read_volatile() };
    let Some(up) = level::<Probe>(scratch, at.cgroup, at.memory) else {
        return 0;
    };
    unsafe { walk.write_volatile(up) };
    1
}

/// Writes a level at the walk's position, with what the memory controller says of it if `memory`
/// is the cgroup's own; returns where the walk goes on, or nothing where it ends.
///
/// The position is bounded anew at each level: to the verifier every level then looks alike, where
/// an offset that grows by the length of each name would make it follow each combination of paths
/// separately.
#[inline(always)]
fn level<R: Read>(scratch: *mut Scratch, cgroup: Address, memory: Address) -> Option<Walk> {
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
fn parent<R: Read>(cgroup: Address, name: impl FnOnce(Address)) -> Address {
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
