//! Where the bytes of a BTF file are.

use std::fs::File;
use std::ops::Deref;

use memmap2::{Mmap, MmapOptions};

/// The bytes of a BTF file.
pub(super) enum Bytes {
    /// In memory of this process.
    Held(Vec<u8>),
    /// In the kernel's own memory.
    Mapped(Mmap),
}

impl Bytes {
    /// Maps the kernel's BTF where it offers that (since Linux 6.16, kernel/bpf/sysfs_btf.c
    /// `btf_sysfs_vmlinux_mmap`). By read(2) it comes 4 KiB at a time, which takes 4 ms.
    pub(super) fn map_kernels(file: &File) -> Option<Self> {
        // SAFETY: the kernel's own types never change nor shrink while it runs.
        let map = unsafe { MmapOptions::new().map_copy_read_only(file) };
        map.ok().map(Self::Mapped)
    }

    /// Bytes of this process's memory.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Held(bytes) => bytes.capacity(),
            Self::Mapped(_) => 0,
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Held(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}
