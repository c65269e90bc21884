//! The walk from a cgroup up to the root, which writes both ends of the path.

use oom_probe_common::record::{LEAF_BYTES, LEAF_LEVELS, LEVELS_BYTES, Level, ROOT_LEVELS};

use crate::{
    cgroup::{LEVEL_MAX, blank, level, parent},
    globals::offset,
    maps::{self, Buffer, Scratch, Walk},
    read::{Address, Probe, Read},
};

/// Levels that [`climb`] leaves out at most, and how often it is called: deeper paths lack their root.
const CLIMB: u32 = 16;
const CLIMBS: u32 = 64;
/// The same by typed pointers, level by level: the verifier follows each.
const TYPED_CLIMB: u32 = 64;

/// What a walk has written.
pub(crate) struct Path {
    pub(crate) levels: u16,
    pub(crate) end: usize,
    pub(crate) truncated: bool,
}

/// Appends the levels from where the walk starts up to the root: of a deep path those next to the
/// leaf and those next to the root.
#[inline(always)]
pub(crate) fn append<R: Read>(buffer: Buffer, scratch: *mut Scratch, start: Walk) -> Path {
    // SAFETY, here and below: a part of a live buffer of this CPU's own; volatile since what is
    // called changes it.
    let walk = unsafe { &raw mut (*scratch).walk };
    unsafe { walk.write_volatile(start) };
    let mut cgroup = start.cgroup;
    let levels = if R::TYPED {
        walk_up::<R>(buffer as u32, scratch, &mut cgroup, start.memory)
    } else {
        all_levels(buffer as u32)
    };
    // SAFETY: see above.
    let end = unsafe { walk.read_volatile() };
    Path {
        levels: levels as u16,
        end: end.position,
        truncated: !if R::TYPED { cgroup } else { end.cgroup }.is_null(),
    }
}

/// Appends the levels of the path that the walk is at the leaf of; returns how many. Global for the
/// reason that [`next_level`] is: three paths are walked.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn all_levels(buffer: u32) -> u32 {
    let Some(scratch) = maps::scratch(buffer) else {
        return 0;
    };
    let null = core::ptr::null();
    walk_up::<Probe>(buffer, scratch, &mut { null }, null)
}

/// See [`append`]; `cgroup` and `memory` are of a walk by typed pointers.
#[inline(always)]
fn walk_up<R: Read>(
    buffer: u32,
    scratch: *mut Scratch,
    cgroup: &mut Address,
    memory: Address,
) -> u32 {
    // SAFETY, here and below: as in `append`.
    let walk = unsafe { &raw mut (*scratch).walk };
    let position = unsafe { &raw const (*walk).position };
    let start = unsafe { position.read_volatile() };
    let mut levels = 0;
    for _ in 0..LEAF_LEVELS {
        // SAFETY: see above.
        let written = unsafe { position.read_volatile() }.wrapping_sub(start);
        if written > LEAF_BYTES || !step::<R>(buffer, scratch, cgroup, memory) {
            break;
        }
        levels += 1;
    }
    let skipped = skip::<R>(buffer, walk, cgroup);
    if skipped > 0 && leave_out(scratch, skipped) {
        levels += 1;
    }
    for _ in 0..ROOT_LEVELS {
        if !step::<R>(buffer, scratch, cgroup, memory) {
            break;
        }
        levels += 1;
    }
    levels
}

/// Appends one level; false where the walk has ended. `cgroup` is where a walk by typed pointers has
/// come to: one that has been in the buffer would have no type any more.
#[inline(always)]
fn step<R: Read>(
    buffer: u32,
    scratch: *mut Scratch,
    cgroup: &mut Address,
    memory: Address,
) -> bool {
    if !R::TYPED {
        return next_level(buffer) != 0;
    }
    let Some(up) = level::<R>(scratch, *cgroup, memory) else {
        return false;
    };
    *cgroup = up.cgroup;
    true
}

/// Goes up to the levels next to the root; returns how many levels are left out.
#[inline(always)]
fn skip<R: Read>(buffer: u32, walk: *mut Walk, cgroup: &mut Address) -> u32 {
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
        let climbed = climb(buffer);
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
    // The verifier takes no direct load from a pointer that it knows to be null.
    (!R::TYPED || !cgroup.is_null()) && depth::<R>(cgroup) >= ROOT_LEVELS as u32
}

/// How far a cgroup is from the root.
#[inline(always)]
pub(crate) fn depth<R: Read>(cgroup: Address) -> u32 {
    R::member(cgroup, offset!(cgroup_level)).value
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
