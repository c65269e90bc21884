//! The kernel's BTF as aya wants it for hooks that are attached by type.

use std::cell::{Cell, OnceCell};
use std::path::Path;
use std::thread::{self, JoinHandle};

use aya::{Btf, BtfError, Endianness};

use super::error::RungError;
use crate::{
    btf::{KERNEL_BTF, Kind, TypeId},
    environment::Facts,
    layout::HookTypes,
};

/// The name of the thread that parses.
pub(super) const THREAD: &str = "kernel-btf";

/// All that aya looks up in it is a hook's type, by name; all that it hands to the kernel is that
/// type's id. The ids are known, so a stand-in does that has nothing but these types in their
/// places: half the time and half the memory of parsing 5 MB, and other work goes on meanwhile.
pub(super) struct KernelBtf {
    /// The types; none where the ids are not to be relied on.
    types: Cell<Option<HookTypes>>,
    /// The stand-in under way.
    parsing: Cell<Option<JoinHandle<Result<Btf, BtfError>>>>,
    btf: OnceCell<Btf>,
}

impl KernelBtf {
    /// A file that was named may have the same types under other ids.
    pub(super) fn new(facts: &Facts) -> Self {
        let own = facts.btf_path == Path::new(KERNEL_BTF);
        let layout = facts.btf.as_ref().ok().filter(|_| own);
        Self {
            types: Cell::new(layout.map(|layout| layout.hook_types)),
            parsing: Cell::new(None),
            btf: OnceCell::new(),
        }
    }

    /// Begins to parse a stand-in, on a thread of its own, unless that was begun before.
    pub(super) fn begin(&self) {
        if let Some(types) = self.types.take() {
            let parse = move || Btf::parse(&stand_in(types), Endianness::default());
            let thread = thread::Builder::new().name(THREAD.to_owned());
            self.parsing.set(thread.spawn(parse).ok());
        }
    }

    pub(super) fn get(&self) -> Result<&Btf, RungError> {
        if let Some(btf) = self.btf.get() {
            return Ok(btf);
        }
        self.begin();
        let btf = match self.parsing.take().map(JoinHandle::join) {
            Some(Ok(parsed)) => parsed?,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Btf::from_sys_fs()?,
        };
        Ok(self.btf.get_or_init(|| btf))
    }
}

/// BTF with these types under their ids, and forward declarations without a name under all others
/// (Documentation/bpf/btf.rst).
fn stand_in(types: HookTypes) -> Vec<u8> {
    let HookTypes {
        mark_victim,
        signal_generate,
        oom_kill_process,
    } = types;
    let mut named: Vec<(TypeId, Kind, &str)> = [
        (mark_victim, Kind::Typedef, "btf_trace_mark_victim"),
        (signal_generate, Kind::Typedef, "btf_trace_signal_generate"),
        (oom_kill_process, Kind::Func, "oom_kill_process"),
    ]
    .into_iter()
    .filter_map(|(id, kind, name)| Some((id?, kind, name)))
    .collect();
    named.sort_unstable_by_key(|(id, ..)| *id);

    // In the words of struct btf_type: name, kind, and a type that nobody looks at.
    let unnamed = [0, (Kind::Fwd as u32) << 24, 0];
    let mut strings = vec![0];
    let mut all: Vec<[u32; 3]> = Vec::new();
    for (TypeId(id), kind, name) in named {
        all.resize((id as usize).saturating_sub(1), unnamed);
        all.push([strings.len() as u32, (kind as u32) << 24, 0]);
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
    }
    let types: &[u8] = bytemuck::cast_slice(&all);
    let magic_and_version = u32::from(0xeb9f_u16) | 1 << 16;
    let header = [
        magic_and_version,
        24,
        0,
        types.len() as u32,
        types.len() as u32,
        strings.len() as u32,
    ];
    [bytemuck::cast_slice(&header), types, &strings].concat()
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;
    use crate::btf;

    #[test]
    fn aya_finds_the_hooks_under_the_ids_that_the_kernel_gives_them() {
        let types = HookTypes {
            mark_victim: Some(TypeId(70)),
            signal_generate: None,
            oom_kill_process: Some(TypeId(7)),
        };
        let btf = Btf::parse(&stand_in(types), Endianness::default()).unwrap();
        for (name, kind, id) in [
            ("oom_kill_process", BtfKind::Func, Some(7)),
            ("oom_kill_process", BtfKind::Typedef, None),
            ("btf_trace_mark_victim", BtfKind::Typedef, Some(70)),
            ("btf_trace_signal_generate", BtfKind::Typedef, None),
        ] {
            assert_eq!(btf.id_by_type_name_kind(name, kind).ok(), id, "{name}");
        }
    }

    #[test]
    fn a_kernel_without_the_hooks_has_no_types() {
        let btf = btf::Btf::parse(stand_in(HookTypes::default())).unwrap();
        assert!(btf.is_empty());
    }
}
