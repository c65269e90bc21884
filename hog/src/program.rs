//! The pages of the program itself.

use std::ptr;
use std::slice;

/// Keeps what this process uses of its program in memory from now on; a child has to ask for itself,
/// since fork(2) passes no locks on.
///
/// A program that is not in the page cache when it starts is charged to its cgroup. Once that is
/// full, the kernel takes those pages back rather than kill (mm/vmscan.c `shrink_node`), and the
/// processes read them again at once, and so on: forty seconds of reading where twenty kills take
/// a fifth of one.
///
/// Where RLIMIT_MEMLOCK forbids it nothing is lost but that time, so nobody is told.
pub(crate) fn keep_in_memory() {
    // SAFETY: `lock` reads what it is given during the call, and is given no data of ours.
    unsafe { libc::dl_iterate_phdr(Some(lock), ptr::null_mut()) };
}

/// One object: the program, or a library where it is not linked statically.
unsafe extern "C" fn lock(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) passes an object that is loaded, with its array of headers.
    let (base, segments) = unsafe {
        let object = &*object;
        let count = usize::from(object.dlpi_phnum);
        (
            object.dlpi_addr,
            slice::from_raw_parts(object.dlpi_phdr, count),
        )
    };
    for segment in segments {
        if segment.p_type == libc::PT_LOAD {
            let start = ptr::without_provenance((base + segment.p_vaddr) as usize);
            // SAFETY: mlock2(2) changes no byte of the range, and reads none of it here.
            unsafe { libc::mlock2(start, segment.p_memsz as usize, libc::MLOCK_ONFAULT) };
        }
    }
    0
}
