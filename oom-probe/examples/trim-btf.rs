//! Trims a kernel's BTF to what the layout needs, for the fixtures of the tests.
//!
//!     cargo run --example trim-btf -- /sys/kernel/btf/vmlinux oom-probe/tests/fixtures/btf/NAME.btf
//!
//! The structs on the paths to the offsets stay whole, with every member at its place. Other
//! structs and enums keep their size but no members, and pointers to them point to `void`. The
//! result is valid BTF: `bpftool btf dump file NAME.btf` shows it.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use capture::btf::{Btf, Kind, Type, TypeId};

/// Where the reader begins.
const ROOTS: &[(Kind, &str)] = &[
    (Kind::Typedef, "btf_trace_mark_victim"),
    (Kind::Typedef, "btf_trace_signal_generate"),
    (Kind::Func, "oom_kill_process"),
    (Kind::Struct, "task_struct"),
    (Kind::Struct, "oom_control"),
    (Kind::Struct, "bpf_map"),
    (Kind::Enum, "pid_type"),
    (Kind::Enum, "cgroup_subsys_id"),
    (Kind::Enum, "bpf_func_id"),
];

/// Structs and enums that keep their members.
const WHOLE: &[&str] = &[
    "bpf_func_id",
    "bpf_map",
    "cgroup",
    "cgroup_root",
    "cgroup_subsys_id",
    "cgroup_subsys_state",
    "cred",
    "css_set",
    "kernel_siginfo",
    "kernfs_node",
    "mem_cgroup",
    "mm_rss_stat",
    "mm_struct",
    "ns_common",
    "oom_control",
    "page_counter",
    "percpu_counter",
    "pid",
    "pid_namespace",
    "pid_type",
    "signal_struct",
    "task_struct",
    "upid",
];

/// Of the 200 helper functions only these are looked for.
const HELPERS: &[&str] = &["BPF_FUNC_unspec", "BPF_FUNC_get_current_task_btf"];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: trim-btf FROM TO");
        return ExitCode::from(2);
    };
    match trim_file(from.as_ref(), to.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trim_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let btf = Btf::read(from)?;
    let bytes = Trimmed::new(&btf)?.finish();
    std::fs::write(to, &bytes).with_context(|| format!("cannot write {}", to.display()))?;
    println!("{}: {} bytes", to.display(), bytes.len());
    Ok(())
}

/// A type of the result.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Kept(TypeId),
    VoidPointer,
}

struct Trimmed<'a> {
    btf: &'a Btf,
    /// In the order of the result, from id 1.
    keys: Vec<Key>,
    ids: HashMap<Key, u32>,
    names: HashMap<Vec<u8>, u32>,
    strings: Vec<u8>,
    types: Vec<u8>,
}

impl<'a> Trimmed<'a> {
    fn new(btf: &'a Btf) -> anyhow::Result<Self> {
        let mut trimmed = Self {
            btf,
            keys: Vec::new(),
            ids: HashMap::new(),
            names: HashMap::from([(Vec::new(), 0)]),
            strings: vec![0],
            types: Vec::new(),
        };
        for &(kind, name) in ROOTS {
            for root in btf.find(kind, name) {
                trimmed.id(Key::Kept(root.id));
            }
        }
        if trimmed.keys.is_empty() {
            bail!("it has nothing that oom-probe looks for");
        }
        let mut next = 0;
        while let Some(&key) = trimmed.keys.get(next) {
            trimmed.emit(key)?;
            next += 1;
        }
        Ok(trimmed)
    }

    /// The id of a type in the result.
    fn id(&mut self, key: Key) -> u32 {
        if let Some(&id) = self.ids.get(&key) {
            return id;
        }
        self.keys.push(key);
        let id = u32::try_from(self.keys.len()).expect("fewer types than the original");
        self.ids.insert(key, id);
        id
    }

    /// The id in the result that takes the place of a type.
    fn reference(&mut self, id: TypeId) -> anyhow::Result<u32> {
        if id == TypeId(0) {
            return Ok(0);
        }
        let target = self.btf.get(id)?;
        if target.kind == Kind::Ptr {
            let to = self.btf.resolve(target.target())?;
            let followed = to.is_composite() && self.is_whole(to)?
                || matches!(to.kind, Kind::FuncProto) && self.is_hook(id)?;
            if !followed {
                return Ok(self.id(Key::VoidPointer));
            }
        }
        Ok(self.id(Key::Kept(id)))
    }

    /// Whether a pointer is that of a tracepoint's typedef: other prototypes are of no interest.
    fn is_hook(&self, pointer: TypeId) -> anyhow::Result<bool> {
        let mut roots = ROOTS
            .iter()
            .flat_map(|&(kind, name)| self.btf.find(kind, name));
        Ok(roots.any(|root| root.kind == Kind::Typedef && root.target() == pointer))
    }

    /// Whether a type keeps its members: by its name, or since it is part of the struct around it.
    fn is_whole(&self, t: Type<'_>) -> anyhow::Result<bool> {
        let name = self.btf.name(t.name)?;
        Ok(name.is_empty() || WHOLE.iter().any(|whole| whole.as_bytes() == name))
    }

    fn name(&mut self, offset: u32) -> anyhow::Result<u32> {
        let name = self.btf.name(offset)?;
        if let Some(&at) = self.names.get(name) {
            return Ok(at);
        }
        let at = u32::try_from(self.strings.len())?;
        self.strings.extend_from_slice(name);
        self.strings.push(0);
        self.names.insert(name.to_vec(), at);
        Ok(at)
    }

    fn emit(&mut self, key: Key) -> anyhow::Result<()> {
        let Key::Kept(id) = key else {
            self.words(&[0, (Kind::Ptr as u32) << 24, 0]);
            return Ok(());
        };
        let t = self.btf.get(id)?;
        let encoded = self
            .btf
            .encoded(id)
            .context("a type that is there has bytes")?;
        let word = |nth: usize| {
            let bytes = encoded[nth * 4..]
                .first_chunk()
                .expect("a word of the type");
            u32::from_ne_bytes(*bytes)
        };
        let name = self.name(t.name)?;
        match t.kind {
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 if !self.is_whole(t)? => {
                self.words(&[name, word(1) & !0xffff, word(2)]);
            }
            Kind::Struct | Kind::Union => {
                self.words(&[name, word(1), word(2)]);
                for (member, nth) in t.members().zip(0..) {
                    let name = self.name(member.name)?;
                    let type_id = self.reference(member.type_id)?;
                    self.words(&[name, type_id, word(3 + nth * 3 + 2)]);
                }
            }
            Kind::Enum => {
                let all = !self.btf.is_named(t.name, "bpf_func_id");
                let kept: Vec<_> = t
                    .enumerators()
                    .filter(|e| all || HELPERS.iter().any(|name| self.btf.is_named(e.name, name)))
                    .collect();
                self.words(&[
                    name,
                    word(1) & !0xffff | u32::try_from(kept.len())?,
                    word(2),
                ]);
                for enumerator in kept {
                    let name = self.name(enumerator.name)?;
                    self.words(&[name, enumerator.value as u32]);
                }
            }
            Kind::Array => {
                let element = self.reference(TypeId(word(3)))?;
                let index = self.reference(TypeId(word(4)))?;
                self.words(&[name, word(1), word(2), element, index, word(5)]);
            }
            Kind::FuncProto => {
                let result = self.reference(t.target())?;
                self.words(&[name, word(1), result]);
                for param in t.params() {
                    let name = self.name(param.name)?;
                    let type_id = self.reference(param.type_id)?;
                    self.words(&[name, type_id]);
                }
            }
            Kind::Int => self.words(&[name, word(1), word(2), word(3)]),
            Kind::Float | Kind::Fwd => self.words(&[name, word(1), word(2)]),
            Kind::Ptr
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::TypeTag
            | Kind::Func => {
                let target = self.reference(t.target())?;
                self.words(&[name, word(1), target]);
            }
            Kind::Enum64 | Kind::Void | Kind::Var | Kind::Datasec | Kind::DeclTag => {
                bail!(
                    "type {} is a {:?}, which nothing here refers to",
                    id.0,
                    t.kind
                )
            }
        }
        Ok(())
    }

    fn words(&mut self, words: &[u32]) {
        self.types
            .extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn finish(self) -> Vec<u8> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("shorter than the original");
        let (types, strings) = (len(&self.types), len(&self.strings));
        let header = [0x0001_eb9f, 24, 0, types, types, strings];
        let mut bytes: Vec<u8> = header
            .iter()
            .flat_map(|word: &u32| word.to_ne_bytes())
            .collect();
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }
}
