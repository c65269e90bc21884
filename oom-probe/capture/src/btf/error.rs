//! What can be wrong with a BTF file.

use std::path::PathBuf;

/// Why a BTF file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be read.
    #[error("cannot read BTF from {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not the BTF of a kernel.
    #[error("no usable BTF in {}: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        cause: Malformed,
    },
}

/// What is wrong with bytes that should be BTF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// More bytes than any kernel's BTF has.
    #[error("it is larger than 64 MiB, which no kernel's BTF is")]
    TooLarge,
    /// A kernel image or module instead of its `.BTF` section.
    #[error(
        "it is an ELF file; extract its BTF with \
         `objcopy -O binary -j .BTF --set-section-flags .BTF=alloc FILE OUT`"
    )]
    Elf,
    /// The magic number is another one.
    #[error("it begins with {0:#06x}, raw BTF begins with 0xeb9f")]
    Magic(u16),
    /// The magic number is swapped.
    #[error("it is BTF of a machine with the other byte order")]
    ByteOrder,
    /// A version of the format that came later.
    #[error("it has version {0} of the format, only version 1 is known")]
    Version(u8),
    /// A section lies outside of the file.
    #[error("its {section} ends at byte {end}, but the file has {len}")]
    Truncated {
        /// Which part.
        section: &'static str,
        /// Where it should end.
        end: u64,
        /// How long the file is.
        len: usize,
    },
    /// A type does not fit into the section of types.
    #[error("type {0} is cut short")]
    TypeTruncated(u32),
    /// A kind that came later: its length is unknown, and so is where the next type begins.
    #[error("type {id} is of kind {kind}, which this version does not know")]
    UnknownKind {
        /// The type.
        id: u32,
        /// Its kind.
        kind: u8,
    },
    /// A type refers to one that is not there.
    #[error("it refers to type {0}, which is not there (is it a module's BTF?)")]
    NoSuchType(u32),
    /// A type has a name that is not there.
    #[error("it refers to a name at {0}, which is not there")]
    NoSuchName(u32),
    /// A type is made of itself, or of more than any kernel's type is.
    #[error("type {0} never ends")]
    TooDeep(u32),
    /// A member without an address.
    #[error("`{0}` is a bit field")]
    BitField(String),
}
