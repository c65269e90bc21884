//! One type of a BTF file, decoded where it lies.

/// `struct btf_type`, which begins every type.
pub(super) const TYPE_LEN: usize = 12;

/// Names a type within one BTF file; 0 is `void`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $fixed:literal, $each:literal;)+) => {
        /// `BTF_KIND_*` of `include/uapi/linux/btf.h`.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name = $number,)+ }

        impl Kind {
            pub(super) const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// Bytes that follow `struct btf_type`, and for each of `vlen` elements.
            pub(super) const fn trailer(self) -> (usize, usize) {
                match self { $(Self::$name => ($fixed, $each),)+ }
            }
        }
    };
}

kinds! {
    /// No type; never in a file.
    Void = 0, 0, 0;
    /// An integer, `bool` and `char` included.
    Int = 1, 4, 0;
    /// A pointer.
    Ptr = 2, 0, 0;
    /// An array of known length.
    Array = 3, 12, 0;
    /// A struct.
    Struct = 4, 0, 12;
    /// A union.
    Union = 5, 0, 12;
    /// An enum of at most 32 bits.
    Enum = 6, 0, 8;
    /// A struct or union that is declared only.
    Fwd = 7, 0, 0;
    /// A typedef.
    Typedef = 8, 0, 0;
    /// `volatile`.
    Volatile = 9, 0, 0;
    /// `const`.
    Const = 10, 0, 0;
    /// `restrict`.
    Restrict = 11, 0, 0;
    /// A function of the kernel.
    Func = 12, 0, 0;
    /// Parameters and result of a function.
    FuncProto = 13, 0, 8;
    /// A variable.
    Var = 14, 4, 0;
    /// A section of variables.
    Datasec = 15, 0, 12;
    /// A floating-point number.
    Float = 16, 0, 0;
    /// An attribute of a declaration.
    DeclTag = 17, 4, 0;
    /// An attribute of a type, such as `__rcu`.
    TypeTag = 18, 0, 0;
    /// An enum of 64 bits.
    Enum64 = 19, 0, 12;
}

/// One type, as it lies in the file.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    /// Its id.
    pub id: TypeId,
    /// Its kind.
    pub kind: Kind,
    /// Its name, an offset into the section of names; 0 where it has none.
    pub name: u32,
    flag: bool,
    size_or_type: u32,
    trailer: &'a [u8],
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, an offset into the section of names; 0 for an anonymous struct or union.
    pub name: u32,
    /// Its type.
    pub type_id: TypeId,
    /// Where it begins, bits.
    pub bit_offset: u32,
    /// Size of a bit field; 0 for an ordinary member.
    pub bit_size: u8,
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name, an offset into the section of names; 0 in a prototype without names.
    pub name: u32,
    /// Its type.
    pub type_id: TypeId,
}

/// An array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// Type of the elements.
    pub element: TypeId,
    /// How many; 0 for a flexible array.
    pub len: u32,
}

/// A name of an enum and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumerator {
    /// Its name, an offset into the section of names.
    pub name: u32,
    /// Its value; an unsigned one above `i64::MAX` wraps.
    pub value: i64,
}

impl<'a> Type<'a> {
    pub(super) const VOID: Self = Self {
        id: TypeId(0),
        kind: Kind::Void,
        name: 0,
        flag: false,
        size_or_type: 0,
        trailer: &[],
    };

    /// The type that begins there. A kind that came after this reader is shown as [`Kind::Void`]:
    /// its length is known, its meaning is not.
    pub(super) fn at(bytes: &'a [u8], at: u32, id: TypeId) -> Option<Self> {
        let bytes = bytes.get(at as usize..)?;
        let info = Info::new(u32_at(bytes, 4)?);
        let kind = Kind::from_number(info.kind).unwrap_or(Kind::Void);
        let (fixed, each) = kind.trailer();
        Some(Self {
            id,
            kind,
            name: u32_at(bytes, 0)?,
            flag: info.flag,
            size_or_type: u32_at(bytes, 8)?,
            trailer: bytes.get(TYPE_LEN..TYPE_LEN + fixed + each * info.vlen as usize)?,
        })
    }

    /// Whether it is a struct or a union.
    #[must_use]
    pub fn is_composite(&self) -> bool {
        matches!(self.kind, Kind::Struct | Kind::Union)
    }

    /// The type that this one refers to; `void` where it refers to none.
    #[must_use]
    pub fn target(&self) -> TypeId {
        match self.kind {
            Kind::Ptr
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::FuncProto
            | Kind::Var
            | Kind::DeclTag
            | Kind::TypeTag => TypeId(self.size_or_type),
            _ => TypeId(0),
        }
    }

    /// The size that the file gives, bytes; `None` for kinds whose size follows from others.
    #[must_use]
    pub fn size(&self) -> Option<u32> {
        match self.kind {
            Kind::Int
            | Kind::Struct
            | Kind::Union
            | Kind::Enum
            | Kind::Enum64
            | Kind::Float
            | Kind::Datasec => Some(self.size_or_type),
            _ => None,
        }
    }

    /// Bits of an integer that carry its value.
    #[must_use]
    pub fn int_bits(&self) -> Option<u32> {
        (self.kind == Kind::Int).then(|| u32_at(self.trailer, 0).map(|word| word & 0xff))?
    }

    /// The members of a struct or union; none for other kinds.
    pub fn members(&self) -> impl Iterator<Item = Member> + use<'a> {
        let flag = self.flag;
        self.elements::<12>(self.is_composite()).map(move |e| {
            let place = word(e, 2);
            let (bit_offset, bit_size) = if flag {
                (place & 0x00ff_ffff, (place >> 24) as u8)
            } else {
                (place, 0)
            };
            Member {
                name: word(e, 0),
                type_id: TypeId(word(e, 1)),
                bit_offset,
                bit_size,
            }
        })
    }

    /// The parameters of a function prototype; none for other kinds.
    pub fn params(&self) -> impl Iterator<Item = Param> + use<'a> {
        self.elements::<8>(self.kind == Kind::FuncProto)
            .map(|e| Param {
                name: word(e, 0),
                type_id: TypeId(word(e, 1)),
            })
    }

    /// The names of an enum; none for other kinds.
    pub fn enumerators(&self) -> impl Iterator<Item = Enumerator> + use<'a> {
        let signed = self.flag;
        let narrow = self
            .elements::<8>(self.kind == Kind::Enum)
            .map(move |e| Enumerator {
                name: word(e, 0),
                value: if signed {
                    i64::from(word(e, 1).cast_signed())
                } else {
                    word(e, 1).into()
                },
            });
        let wide = self
            .elements::<12>(self.kind == Kind::Enum64)
            .map(|e| Enumerator {
                name: word(e, 0),
                value: (u64::from(word(e, 2)) << 32 | u64::from(word(e, 1))).cast_signed(),
            });
        narrow.chain(wide)
    }

    /// Element and length of an array; an array of no `void` for other kinds.
    #[must_use]
    pub fn array(&self) -> Array {
        match self.elements::<12>(self.kind == Kind::Array).next() {
            Some(e) => Array {
                element: TypeId(word(e, 0)),
                len: word(e, 2),
            },
            None => Array {
                element: TypeId(0),
                len: 0,
            },
        }
    }

    fn elements<const N: usize>(
        &self,
        wanted: bool,
    ) -> impl Iterator<Item = &'a [u8; N]> + use<'a, N> {
        let bytes = if wanted { self.trailer } else { &[] };
        bytes
            .chunks_exact(N)
            .filter_map(|chunk| chunk.try_into().ok())
    }
}

/// `btf_type.info` in parts. Before Linux 7.1 vlen had 16 bits and kind 5, and the bits that each
/// gained had to be 0: the wider masks read both.
#[derive(Clone, Copy)]
pub(super) struct Info {
    pub(super) kind: u8,
    pub(super) vlen: u32,
    pub(super) flag: bool,
}

impl Info {
    pub(super) const fn new(info: u32) -> Self {
        Self {
            kind: (info >> 24 & 0x7f) as u8,
            vlen: info & 0x00ff_ffff,
            flag: info >> 31 == 1,
        }
    }
}

/// The number of the kind and the name of the type that begins there.
pub(super) fn kind_and_name(bytes: &[u8], at: u32) -> Option<(u8, u32)> {
    let bytes = bytes.get(at as usize..)?.first_chunk::<8>()?;
    Some((Info::new(word(bytes, 1)).kind, word(bytes, 0)))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*word))
}

/// A word of an element that is known to have it.
fn word<const N: usize>(element: &[u8; N], nth: usize) -> u32 {
    u32_at(element, nth * 4).unwrap_or(0)
}
