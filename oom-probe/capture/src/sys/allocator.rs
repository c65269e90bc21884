//! Keeps the daemon small: what BTF and lists of pods need once is given back at once.

/// Bytes from which an allocation is a mapping of its own, so that freeing it gives it back.
#[cfg(target_env = "gnu")]
const OWN_MAPPING: libc::c_int = 128 * 1024;

/// Keeps glibc from raising the size from which an allocation is a mapping of its own, as it does
/// each time that such a one is freed (malloc(3), `M_MMAP_THRESHOLD`): reading BTF once would
/// leave the heap ten times larger for good.
pub fn keep_large_allocations_apart() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt has no preconditions.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING);
    }
}

/// Gives freed memory back to the kernel.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
