//! A reader of raw BTF that costs about the file: it keeps the bytes and one offset per type, and
//! looks up what is asked for.
//!
//! Format: `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h`. Whatever the bytes are,
//! every function here ends in bounded time with a value or an error.

mod bytes;
mod error;
mod raw;
mod types;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use error::{Malformed, ReadError};
pub use types::{Array, Enumerator, Kind, Member, Param, Type, TypeId};

use bytes::Bytes;
use raw::{HEADER_LEN, Sections};

/// Where the kernel shows its own types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The largest file read: some twelve times the BTF of a distribution's kernel.
const MAX_BYTES: u64 = 64 << 20;

/// How many typedefs, qualifiers, array levels or anonymous members may nest.
const MAX_DEPTH: u32 = 32;

/// How many members one lookup may visit; `task_struct`, the largest, has some 300.
const MAX_VISITS: u32 = 1 << 16;

/// The types of a kernel.
pub struct Btf {
    bytes: Bytes,
    sections: Sections,
    /// Where each type begins, from the start of `bytes`; type 1 first.
    index: Vec<u32>,
}

/// A member found by name, wherever anonymous structs and unions put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// Bytes from the start of the outermost struct.
    pub offset: u32,
    /// Its type, typedefs and qualifiers not yet followed.
    pub type_id: TypeId,
}

impl Btf {
    /// Reads a file of raw BTF.
    ///
    /// # Errors
    /// When the file can't be read or is not BTF; the message names the file and the cause.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io {
            path: path.into(),
            source,
        };
        let malformed = |cause| ReadError::Malformed {
            path: path.into(),
            cause,
        };
        let mut file = File::open(path).map_err(io)?;
        if path == Path::new(KERNEL_BTF)
            && let Some(bytes) = Bytes::map_kernels(&file)
        {
            return Self::index(bytes).map_err(malformed);
        }
        let size = file.metadata().map_err(io)?.len().min(MAX_BYTES);
        let mut bytes = Vec::new();
        // First the beginning alone: the file may be a kernel image, or never end.
        file.by_ref()
            .take(HEADER_LEN as u64)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        raw::identify(&bytes).map_err(malformed)?;
        // With room for the read that finds the end, so that nothing is moved.
        bytes.reserve_exact(usize::try_from(size).unwrap_or(0) + 1);
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        Self::parse(bytes).map_err(malformed)
    }

    /// Takes the bytes of a BTF file and finds where each type begins.
    ///
    /// # Errors
    /// When the bytes are not BTF, or a type does not fit into them.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Malformed> {
        Self::index(Bytes::Held(bytes))
    }

    fn index(bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Malformed::TooLarge);
        }
        let sections = Sections::parse(&bytes)?;
        let index = sections.index(&bytes)?;
        Ok(Self {
            bytes,
            sections,
            index,
        })
    }

    /// How many types there are, `void` not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are no types at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.memory() + self.index.capacity() * size_of::<u32>()
    }

    /// Every type, in the order of the file.
    pub fn types(&self) -> impl Iterator<Item = Type<'_>> {
        self.index
            .iter()
            .zip(1..)
            .filter_map(|(&at, id)| Type::at(&self.bytes, at, TypeId(id)))
    }

    /// The type of that id; `void` for 0.
    ///
    /// # Errors
    /// When there is no such type.
    pub fn get(&self, id: TypeId) -> Result<Type<'_>, Malformed> {
        let Some(slot) = id.0.checked_sub(1) else {
            return Ok(Type::VOID);
        };
        self.index
            .get(slot as usize)
            .and_then(|&at| Type::at(&self.bytes, at, id))
            .ok_or(Malformed::NoSuchType(id.0))
    }

    /// Every type of that kind and name, in the order of the file.
    pub fn find<'a>(&'a self, kind: Kind, name: &'a str) -> impl Iterator<Item = Type<'a>> {
        let ids = self.index.iter().zip(1..);
        // Words first: few of the types are decoded, and of few is the name looked at.
        ids.filter(move |&(&at, _)| {
            types::kind_and_name(&self.bytes, at)
                .is_some_and(|(number, at)| number == kind as u8 && self.is_named(at, name))
        })
        .filter_map(|(&at, id)| Type::at(&self.bytes, at, TypeId(id)))
    }

    /// The name at that offset of the string section; empty for an anonymous type or member.
    ///
    /// # Errors
    /// When the offset lies outside of the section, or no NUL follows it.
    pub fn name(&self, offset: u32) -> Result<&[u8], Malformed> {
        let strings = self.sections.strings(&self.bytes);
        let rest = strings
            .get(offset as usize..)
            .ok_or(Malformed::NoSuchName(offset))?;
        let end = rest
            .iter()
            .position(|&b| b == 0)
            .ok_or(Malformed::NoSuchName(offset))?;
        Ok(&rest[..end])
    }

    /// Whether that name is at that offset of the string section.
    #[must_use]
    pub fn is_named(&self, offset: u32, name: &str) -> bool {
        let rest = self
            .sections
            .strings(&self.bytes)
            .get(offset as usize..)
            .unwrap_or_default();
        rest.starts_with(name.as_bytes()) && rest.get(name.len()) == Some(&0)
    }

    /// Follows typedefs, qualifiers and type tags to the type that they stand for.
    ///
    /// # Errors
    /// When the chain leads nowhere or never ends.
    pub fn resolve(&self, id: TypeId) -> Result<Type<'_>, Malformed> {
        let mut current = self.get(id)?;
        for _ in 0..MAX_DEPTH {
            match current.kind {
                Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                    current = self.get(current.target())?;
                }
                _ => return Ok(current),
            }
        }
        Err(Malformed::TooDeep(id.0))
    }

    /// What a pointer points to, typedefs and qualifiers followed on both sides; `None` where the
    /// type is no pointer.
    ///
    /// # Errors
    /// As [`Btf::resolve`].
    pub fn pointee(&self, id: TypeId) -> Result<Option<Type<'_>>, Malformed> {
        let pointer = self.resolve(id)?;
        if pointer.kind != Kind::Ptr {
            return Ok(None);
        }
        self.resolve(pointer.target()).map(Some)
    }

    /// Size of a value of that type, bytes; `None` where it has none (`void`, functions, forward
    /// declarations).
    ///
    /// # Errors
    /// As [`Btf::resolve`], and when the size overflows.
    pub fn size_of(&self, id: TypeId) -> Result<Option<u32>, Malformed> {
        let mut current = self.resolve(id)?;
        let mut elements = 1_u32;
        for _ in 0..MAX_DEPTH {
            let size = match current.kind {
                Kind::Ptr => 8,
                Kind::Array => {
                    let array = current.array();
                    elements = elements
                        .checked_mul(array.len)
                        .ok_or(Malformed::TooDeep(id.0))?;
                    current = self.resolve(array.element)?;
                    continue;
                }
                _ => match current.size() {
                    Some(size) => size,
                    None => return Ok(None),
                },
            };
            return size
                .checked_mul(elements)
                .map(Some)
                .ok_or(Malformed::TooDeep(id.0));
        }
        Err(Malformed::TooDeep(id.0))
    }

    /// Finds a member of a struct or union by name, looking into anonymous ones too
    /// (`task_struct` has them for structure randomisation). A bit field is an error, for it has
    /// no address.
    ///
    /// # Errors
    /// When the type is malformed or the member is a bit field.
    pub fn member(&self, composite: Type<'_>, name: &str) -> Result<Option<Located>, Malformed> {
        let mut visits = MAX_VISITS;
        self.member_within(composite, name, 0, MAX_DEPTH, &mut visits)
    }

    fn member_within(
        &self,
        composite: Type<'_>,
        name: &str,
        base_bits: u32,
        depth: u32,
        visits: &mut u32,
    ) -> Result<Option<Located>, Malformed> {
        let too_deep = Malformed::TooDeep(composite.id.0);
        for member in composite.members() {
            *visits = visits.checked_sub(1).ok_or(too_deep.clone())?;
            let bits = base_bits
                .checked_add(member.bit_offset)
                .ok_or(too_deep.clone())?;
            if self.is_named(member.name, name) {
                if member.bit_size != 0 || bits % 8 != 0 || self.is_partial_int(member.type_id)? {
                    return Err(Malformed::BitField(name.to_owned()));
                }
                return Ok(Some(Located {
                    offset: bits / 8,
                    type_id: member.type_id,
                }));
            }
            if member.name == 0 {
                let inner = self.resolve(member.type_id)?;
                if inner.is_composite() {
                    let depth = depth.checked_sub(1).ok_or(too_deep.clone())?;
                    if let Some(found) = self.member_within(inner, name, bits, depth, visits)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Old encoders describe a bit field by an integer of fewer bits than its bytes have.
    fn is_partial_int(&self, id: TypeId) -> Result<bool, Malformed> {
        let t = self.resolve(id)?;
        Ok(t.int_bits().is_some_and(|bits| {
            t.size()
                .is_some_and(|size| size.checked_mul(8) != Some(bits))
        }))
    }

    /// The value of an enumerator of the enum of that name.
    #[must_use]
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<i64> {
        [Kind::Enum, Kind::Enum64].into_iter().find_map(|kind| {
            self.find(kind, enumeration)
                .flat_map(|t| t.enumerators())
                .find(|e| self.is_named(e.name, name))
                .map(|e| e.value)
        })
    }

    /// The parameters of a function, through pointers and typedefs; `None` where it is none.
    ///
    /// # Errors
    /// As [`Btf::resolve`].
    pub fn params(&self, id: TypeId) -> Result<Option<Vec<Param>>, Malformed> {
        let mut current = self.resolve(id)?;
        if matches!(current.kind, Kind::Ptr | Kind::Func) {
            current = self.resolve(current.target())?;
        }
        Ok((current.kind == Kind::FuncProto).then(|| current.params().collect()))
    }

    /// The bytes of one type and the names' section, for whoever copies types.
    #[must_use]
    pub fn encoded(&self, id: TypeId) -> Option<&[u8]> {
        let slot = id.0.checked_sub(1)? as usize;
        let start = *self.index.get(slot)? as usize;
        let end = self
            .index
            .get(slot + 1)
            .map_or(self.sections.types_end, |&at| at as usize);
        self.bytes.get(start..end)
    }
}
